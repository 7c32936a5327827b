"""The generator and the discriminator. Mirrors jax_impl/model.py."""

from torch import Tensor, nn

from common.networks.layers import Architecture
from torch_impl.layers import build_layers


class Generator(nn.Module):
    """Latents (N, Z) to images (N, C, S, S) in [-1, 1]."""

    def __init__(self, architecture: Architecture, *, variant: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(*build_layers(architecture.generator, variant=variant))

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents[:, :, None, None])  # (N, Z, 1, 1) -> (N, C, S, S)


class Discriminator(nn.Module):
    """Images (N, C, S, S) to one logit each, (N,)."""

    def __init__(self, architecture: Architecture, *, variant: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(*build_layers(architecture.discriminator, variant=variant))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()  # (N, 1, 1, 1) -> (N,)

    def activations(self, images: Tensor) -> list[Tensor]:
        """What each LeakyReLU returns: what the discriminator has learnt to see, from edges to digits."""
        outputs = []
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, nn.LeakyReLU):
                outputs.append(images)
        return outputs
