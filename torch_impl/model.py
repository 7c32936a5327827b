"""The generator and the discriminator. Mirrors jax_impl/model.py.

Both twins build their layers from one list of specs (common/networks/families.py): with fifteen presets, layers written
out twice would be thirty chances to differ. The default preset, dcgan32, with the shape of every layer's output,
N images by channels, rows and columns, and the number of its parameters:

    Generator
        latents         (N, 100, 1, 1)
        ConvTranspose   (N, 128, 4, 4)       204,800
        BatchNorm       (N, 128, 4, 4)           256
        ReLU            (N, 128, 4, 4)
        ConvTranspose   (N, 64, 8, 8)        131,072
        BatchNorm       (N, 64, 8, 8)            128
        ReLU            (N, 64, 8, 8)
        ConvTranspose   (N, 32, 16, 16)       32,768
        BatchNorm       (N, 32, 16, 16)           64
        ReLU            (N, 32, 16, 16)
        ConvTranspose   (N, 1, 32, 32)           512
        Tanh            (N, 1, 32, 32)
    Discriminator
        images          (N, 1, 32, 32)
        Conv            (N, 32, 16, 16)          512
        LeakyReLU       (N, 32, 16, 16)
        Conv            (N, 64, 8, 8)         32,768
        BatchNorm       (N, 64, 8, 8)            128
        LeakyReLU       (N, 64, 8, 8)
        Conv            (N, 128, 4, 4)       131,072
        BatchNorm       (N, 128, 4, 4)           256
        LeakyReLU       (N, 128, 4, 4)
        Conv            (N, 1, 1, 1)           2,048
"""

from torch import Tensor, nn

from common.networks.layers import Architecture
from torch_impl.layers import Form, build_layers


class Generator(nn.Sequential):
    """Latents (N, Z) to images (N, C, S, S) in [-1, 1]."""

    def __init__(self, architecture: Architecture, form: Form) -> None:
        super().__init__(*build_layers(architecture.generator, form))

    def forward(self, latents: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(latents[:, :, None, None])  # (N, Z, 1, 1) -> (N, C, S, S)


class Discriminator(nn.Sequential):
    """Images (N, C, S, S) to one logit each, (N,)."""

    def __init__(self, architecture: Architecture, form: Form) -> None:
        super().__init__(*build_layers(architecture.discriminator, form))

    def forward(self, images: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(images).flatten()  # (N, 1, 1, 1) -> (N,)

    def activations(self, images: Tensor) -> list[Tensor]:
        """What each LeakyReLU returns: what the discriminator has learnt to see, from edges to digits."""
        outputs = []
        for layer in self:
            images = layer(images)
            if isinstance(layer, nn.LeakyReLU):
                outputs.append(images)
        return outputs
