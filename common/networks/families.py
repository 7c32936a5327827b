"""The networks of every preset, layer by layer, each a function of its width."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from common.networks.layers import BatchNorm, Conv, ConvTranspose, LayerSpec, LeakyReLU, Linear, Networks, ReLU, Tanh


def radford(*, first_size: int, num_stages: int, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Radford et al. 2016, figure 1, with kernels of 4 (pytorch/examples): a map of `first_size` px, doubled until half
    the image's size, while the channels halve down to `width`; D goes the same way back.
    """
    channels = [2**stage * width for stage in range(num_stages)]
    return Networks(
        generator=(
            *_up(first_size, latent_dim, *reversed(channels)),
            ConvTranspose(width, image_channels, 4, 2, 1),
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1),
            LeakyReLU(),
            *_down(*channels),
            Conv(channels[-1], 1, first_size, 1, 0),
        ),
    )


dcgan32 = partial(radford, first_size=4, num_stages=3)  # 4, 8, 16 px with 4w, 2w, w channels
dcgan28 = partial(radford, first_size=7, num_stages=2)  # 7, 14 px with 2w, w channels
paper64 = partial(radford, first_size=4, num_stages=4)  # 4, 8, 16, 32 px with 8w, 4w, 2w, w channels, as in the paper


def three_layers32(*, width: int, latent_dim: int, image_channels: int, batch_norm: bool = True) -> Networks:
    """Earlier system seed001 (docs/systems.md): Linear stem and head, biases, no BatchNorm on D's third layer."""

    def norm(num_features: int) -> tuple[LayerSpec, ...]:
        return (BatchNorm(num_features),) if batch_norm else ()

    return Networks(
        generator=(
            Linear(latent_dim, 4 * width, out_size=4),  # 4x4
            LeakyReLU(),
            ConvTranspose(4 * width, 2 * width, 4, 2, 1, bias=True),  # 8x8
            *norm(2 * width),
            LeakyReLU(),
            ConvTranspose(2 * width, width, 4, 2, 1, bias=True),  # 16x16
            *norm(width),
            LeakyReLU(),
            ConvTranspose(width, image_channels, 4, 2, 1, bias=True),  # 32x32
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1, bias=True),  # 16x16
            *norm(width),
            LeakyReLU(),
            Conv(width, 2 * width, 4, 2, 1, bias=True),  # 8x8
            *norm(2 * width),
            LeakyReLU(),
            Conv(2 * width, 4 * width, 4, 2, 1, bias=True),  # 4x4
            LeakyReLU(),
            Linear(4 * width, 1, in_size=4),
        ),
    )


def cropped28(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Earlier system seed003 (docs/systems.md): 32 px maps cropped to 28 by the last layer's padding; D is strided."""
    return Networks(
        generator=(
            *_up(4, latent_dim, 8 * width, 4 * width, 2 * width, width),  # 4x4 to 32x32
            ConvTranspose(width, image_channels, 1, 1, 2),  # 28x28
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1),  # 14x14
            LeakyReLU(),
            *_down(width, 2 * width, 4 * width),  # 7x7, 3x3
            Conv(4 * width, 1, 4, 2, 1),
        ),
    )


def native28(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Earlier system seed004, its DCGAN (docs/systems.md): a last layer at 28 px, biases, a Linear head on 3x3."""
    return Networks(
        generator=(
            *_up(7, latent_dim, 4 * width, 2 * width, width, bias=True),  # 7x7, 14x14, 28x28
            ConvTranspose(width, image_channels, 3, 1, 1, bias=True),
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1, bias=True),  # 14x14
            LeakyReLU(),
            *_down(width, 2 * width, 4 * width, bias=True),  # 7x7, 3x3
            Linear(4 * width, 1, in_size=3),
        ),
    )


def mlp28(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Earlier system seed004, its MLP (docs/systems.md): layers width, 2w, 4w wide; D is the mirror image."""
    sizes = (latent_dim, width, 2 * width, 4 * width)
    hidden = [(Linear(*pair), ReLU()) for pair in pairwise(sizes)]
    mirrored = [(Linear(*pair), LeakyReLU()) for pair in pairwise(sizes[:0:-1])]
    return Networks(
        generator=(
            *(spec for layer in hidden for spec in layer),
            Linear(4 * width, image_channels, out_size=28),
            Tanh(),
        ),
        discriminator=(
            Linear(image_channels, 4 * width, in_size=28),
            LeakyReLU(),
            *(spec for layer in mirrored for spec in layer),
            Linear(width, 1),
        ),
    )


def _up(first_size: int, *channels: int, bias: bool = False) -> Iterator[LayerSpec]:
    """From one pixel to a map of `first_size` px, and on to maps twice as large, one for each pair of channels."""
    window = (first_size, 1, 0)
    for before, after in pairwise(channels):
        yield from (ConvTranspose(before, after, *window, bias), BatchNorm(after), ReLU())
        window = (4, 2, 1)


def _down(*channels: int, bias: bool = False) -> Iterator[LayerSpec]:
    """To maps half as large, one for each pair of channels."""
    for before, after in pairwise(channels):
        yield from (Conv(before, after, 4, 2, 1, bias), BatchNorm(after), LeakyReLU())
