"""The generator and the discriminator. Mirrors torch_impl/model.py."""

from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from common.networks.layers import Architecture
from jax_impl.conventions import LeakyReLU
from jax_impl.layers import build_layers


class Generator(nnx.Module):
    """Latents (N, Z) to images (N, S, S, C) in [-1, 1]."""

    def __init__(self, architecture: Architecture, *, variant: str, dtype: DTypeLike, param_dtype: DTypeLike) -> None:
        self.layers = nnx.List(
            build_layers(architecture.generator, variant=variant, dtype=dtype, param_dtype=param_dtype)
        )

    def __call__(self, latents: Array) -> Array:
        images = latents[:, None, None, :]  # (N, Z) -> (N, 1, 1, Z)
        for layer in self.layers:
            images = layer(images)
        return images


class Discriminator(nnx.Module):
    """Images (N, S, S, C) to one logit each, (N,)."""

    def __init__(self, architecture: Architecture, *, variant: str, dtype: DTypeLike, param_dtype: DTypeLike) -> None:
        self.layers = nnx.List(
            build_layers(architecture.discriminator, variant=variant, dtype=dtype, param_dtype=param_dtype)
        )

    def __call__(self, images: Array) -> Array:
        for layer in self.layers:
            images = layer(images)
        return images.reshape(-1)  # (N, 1, 1, 1) -> (N,)

    def activations(self, images: Array) -> list[Array]:
        """What each LeakyReLU returns: what the discriminator has learnt to see, from edges to digits."""
        outputs = []
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, LeakyReLU):
                outputs.append(images)
        return outputs
