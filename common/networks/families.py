"""The networks of every preset, layer by layer, each a function of its width."""

from itertools import pairwise

from common.networks.layers import BatchNorm, Conv, ConvTranspose, LayerSpec, LeakyReLU, Linear, Networks, ReLU, Tanh


def dcgan32(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Radford et al. 2016, figure 1, one stage shorter: 4, 8, 16, 32 px with 4w, 2w, w channels."""
    return Networks(
        generator=(
            *_up(latent_dim, 4 * width, kernel_size=4, stride=1, padding=0),  # 4x4
            *_up(4 * width, 2 * width),  # 8x8
            *_up(2 * width, width),  # 16x16
            ConvTranspose(width, image_channels, 4, 2, 1),  # 32x32
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1),  # 16x16
            LeakyReLU(),
            *_down(width, 2 * width),  # 8x8
            *_down(2 * width, 4 * width),  # 4x4
            Conv(4 * width, 1, 4, 1, 0),
        ),
    )


def dcgan28(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """The native 28 px form: 7, 14, 28 px with 2w, w channels."""
    return Networks(
        generator=(
            *_up(latent_dim, 2 * width, kernel_size=7, stride=1, padding=0),  # 7x7
            *_up(2 * width, width),  # 14x14
            ConvTranspose(width, image_channels, 4, 2, 1),  # 28x28
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1),  # 14x14
            LeakyReLU(),
            *_down(width, 2 * width),  # 7x7
            Conv(2 * width, 1, 7, 1, 0),
        ),
    )


def paper64(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Radford et al. 2016, figure 1, with kernels of 4 (pytorch/examples): 4 to 64 px, 8w, 4w, 2w, w channels."""
    return Networks(
        generator=(
            *_up(latent_dim, 8 * width, kernel_size=4, stride=1, padding=0),  # 4x4
            *_up(8 * width, 4 * width),  # 8x8
            *_up(4 * width, 2 * width),  # 16x16
            *_up(2 * width, width),  # 32x32
            ConvTranspose(width, image_channels, 4, 2, 1),  # 64x64
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1),  # 32x32
            LeakyReLU(),
            *_down(width, 2 * width),  # 16x16
            *_down(2 * width, 4 * width),  # 8x8
            *_down(4 * width, 8 * width),  # 4x4
            Conv(8 * width, 1, 4, 1, 0),
        ),
    )


def three_layers32(*, width: int, latent_dim: int, image_channels: int, batch_norm: bool = True) -> Networks:
    """Seed document 001: Linear stem and head, biases everywhere, BatchNorm on D's first layer but not on its third."""

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
    """Seed document 003: 32 px maps cropped to 28 by the padding of the last layer; D goes 28, 14, 7, 3, 1."""
    return Networks(
        generator=(
            *_up(latent_dim, 8 * width, kernel_size=4, stride=1, padding=0),  # 4x4
            *_up(8 * width, 4 * width),  # 8x8
            *_up(4 * width, 2 * width),  # 16x16
            *_up(2 * width, width),  # 32x32
            ConvTranspose(width, image_channels, 1, 1, 2),  # 28x28
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1),  # 14x14
            LeakyReLU(),
            *_down(width, 2 * width),  # 7x7
            *_down(2 * width, 4 * width),  # 3x3
            Conv(4 * width, 1, 4, 2, 1),
        ),
    )


def native28(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Seed document 004, DCGAN: 7, 14, 28 px and one more layer there; biases, and a Linear head on 3x3."""
    return Networks(
        generator=(
            *_up(latent_dim, 4 * width, kernel_size=7, stride=1, padding=0, bias=True),  # 7x7
            *_up(4 * width, 2 * width, bias=True),  # 14x14
            *_up(2 * width, width, bias=True),  # 28x28
            ConvTranspose(width, image_channels, 3, 1, 1, bias=True),
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, width, 4, 2, 1, bias=True),  # 14x14
            LeakyReLU(),
            *_down(width, 2 * width, bias=True),  # 7x7
            *_down(2 * width, 4 * width, bias=True),  # 3x3
            Linear(4 * width, 1, in_size=3),
        ),
    )


def mlp28(*, width: int, latent_dim: int, image_channels: int) -> Networks:
    """Seed document 004, simple GAN: fully connected, width, 2w, 4w wide; D is the mirror image."""
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


def _up(
    in_channels: int, out_channels: int, *, kernel_size: int = 4, stride: int = 2, padding: int = 1, bias: bool = False
) -> tuple[LayerSpec, ...]:
    up = ConvTranspose(in_channels, out_channels, kernel_size, stride, padding, bias)
    return (up, BatchNorm(out_channels), ReLU())


def _down(in_channels: int, out_channels: int, *, bias: bool = False) -> tuple[LayerSpec, ...]:
    return (Conv(in_channels, out_channels, 4, 2, 1, bias), BatchNorm(out_channels), LeakyReLU())
