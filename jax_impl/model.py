"""The generator and the discriminator. Mirrors torch_impl/model.py.

Both twins build their layers from one list of specs (common/networks/families.py): with fifteen presets, layers written
out twice would be thirty chances to differ. The default preset, dcgan32, with the shape of every layer's output,
N images by rows, columns and channels, and the number of its parameters:

    Generator
        latents         (N, 1, 1, 100)
        ConvTranspose   (N, 4, 4, 128)       204,800
        BatchNorm       (N, 4, 4, 128)           256
        ReLU            (N, 4, 4, 128)
        ConvTranspose   (N, 8, 8, 64)        131,072
        BatchNorm       (N, 8, 8, 64)            128
        ReLU            (N, 8, 8, 64)
        ConvTranspose   (N, 16, 16, 32)       32,768
        BatchNorm       (N, 16, 16, 32)           64
        ReLU            (N, 16, 16, 32)
        ConvTranspose   (N, 32, 32, 1)           512
        Tanh            (N, 32, 32, 1)
    Discriminator
        images          (N, 32, 32, 1)
        Conv            (N, 16, 16, 32)          512
        LeakyReLU       (N, 16, 16, 32)
        Conv            (N, 8, 8, 64)         32,768
        BatchNorm       (N, 8, 8, 64)            128
        LeakyReLU       (N, 8, 8, 64)
        Conv            (N, 4, 4, 128)       131,072
        BatchNorm       (N, 4, 4, 128)           256
        LeakyReLU       (N, 4, 4, 128)
        Conv            (N, 1, 1, 1)           2,048
"""

from flax import nnx
from jax import Array

from common.networks.layers import Architecture
from jax_impl.conventions import LeakyReLU
from jax_impl.layers import Form, build_layers


class Generator(nnx.Sequential):
    """Latents (N, Z) to images (N, S, S, C) in [-1, 1]."""

    def __init__(self, architecture: Architecture, form: Form, *, rngs: nnx.Rngs) -> None:
        super().__init__(*build_layers(architecture.generator, form, rngs=rngs))

    def __call__(self, latents: Array) -> Array:
        return super().__call__(latents[:, None, None, :])  # (N, Z) -> (N, 1, 1, Z) -> (N, S, S, C)


class Discriminator(nnx.Sequential):
    """Images (N, S, S, C) to one logit each, (N,)."""

    def __init__(self, architecture: Architecture, form: Form, *, rngs: nnx.Rngs) -> None:
        super().__init__(*build_layers(architecture.discriminator, form, rngs=rngs))

    def __call__(self, images: Array) -> Array:
        return super().__call__(images).reshape(-1)  # (N, 1, 1, 1) -> (N,)

    def activations(self, images: Array) -> list[Array]:
        """What each LeakyReLU returns: what the discriminator has learnt to see, from edges to digits."""
        outputs = []
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, LeakyReLU):
                outputs.append(images)
        return outputs
