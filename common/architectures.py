"""The networks of every preset, written as data: a tuple of layer specs that both frameworks build from."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.config import TrainConfig
from common.errors import UserError


@dataclass(frozen=True)
class Conv:
    """Square convolution with explicit zero padding; output size floor((S + 2 padding - kernel) / stride) + 1."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    bias: bool = False


@dataclass(frozen=True)
class ConvTranspose:
    """Transpose of `Conv`, padding in torch's sense: output size (S - 1) stride - 2 padding + kernel."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    bias: bool = False


@dataclass(frozen=True)
class BatchNorm:
    """Normalisation over batch and pixels; the running variance is the unbiased one (torch's convention)."""

    num_features: int
    epsilon: float = 1e-5
    momentum: float = 0.1  # weight of the new batch, torch's sense


@dataclass(frozen=True)
class LeakyReLU:
    """x for x > 0, else negative_slope * x; its derivative at 0 is the slope (Radford et al. 2016: 0.2)."""

    negative_slope: float = 0.2


@dataclass(frozen=True)
class ReLU:
    """max(x, 0); its derivative at 0 is 0."""


@dataclass(frozen=True)
class Tanh:
    """Brings the generator's images into [-1, 1]."""


LayerSpec = Conv | ConvTranspose | BatchNorm | LeakyReLU | ReLU | Tanh


@dataclass(frozen=True)
class Architecture:
    """A generator from (B, latent_dim, 1, 1) to images, and a discriminator from images to one logit each."""

    generator: tuple[LayerSpec, ...]
    discriminator: tuple[LayerSpec, ...]
    latent_dim: int
    image_size: int
    image_channels: int


def dcgan32(*, width: int, latent_dim: int, image_channels: int) -> Architecture:
    """Radford et al. 2016, figure 1, one stage shorter: 4, 8, 16, 32 px with 4w, 2w, w channels."""
    w = width
    return Architecture(
        generator=(
            *_up(latent_dim, 4 * w, kernel_size=4, stride=1, padding=0),  # 4x4
            *_up(4 * w, 2 * w),  # 8x8
            *_up(2 * w, w),  # 16x16
            ConvTranspose(w, image_channels, 4, 2, 1),  # 32x32
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, w, 4, 2, 1),  # 16x16
            LeakyReLU(),
            *_down(w, 2 * w),  # 8x8
            *_down(2 * w, 4 * w),  # 4x4
            Conv(4 * w, 1, 4, 1, 0),
        ),
        latent_dim=latent_dim,
        image_size=32,
        image_channels=image_channels,
    )


def dcgan28(*, width: int, latent_dim: int, image_channels: int) -> Architecture:
    """The native 28 px form: 7, 14, 28 px with 2w, w channels."""
    w = width
    return Architecture(
        generator=(
            *_up(latent_dim, 2 * w, kernel_size=7, stride=1, padding=0),  # 7x7
            *_up(2 * w, w),  # 14x14
            ConvTranspose(w, image_channels, 4, 2, 1),  # 28x28
            Tanh(),
        ),
        discriminator=(
            Conv(image_channels, w, 4, 2, 1),  # 14x14
            LeakyReLU(),
            *_down(w, 2 * w),  # 7x7
            Conv(2 * w, 1, 7, 1, 0),
        ),
        latent_dim=latent_dim,
        image_size=28,
        image_channels=image_channels,
    )


# Preset -> (family, width); a test builds every preset at an eighth of its width.
FAMILIES: dict[str, tuple[Callable[..., Architecture], int]] = {
    "dcgan32": (dcgan32, 32),
    "dcgan32-wide": (dcgan32, 64),
    "dcgan28": (dcgan28, 64),
    "smoke": (dcgan32, 16),
}


def build_architecture(config: TrainConfig, *, image_channels: int = 1, width: int | None = None) -> Architecture:
    """The networks of `config.preset`, at its own width unless another is given."""
    if config.preset not in FAMILIES:
        raise UserError(f"preset {config.preset!r} is unknown: choose one of {', '.join(FAMILIES)}")
    family, preset_width = FAMILIES[config.preset]
    architecture = family(width=width or preset_width, latent_dim=config.latent_dim, image_channels=image_channels)
    if config.image_size != architecture.image_size:
        raise UserError(
            f"preset {config.preset} makes {architecture.image_size} px images, not {config.image_size}: "
            f"leave --image-size out or choose another --preset"
        )
    return architecture


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Canonical name and shape of every trainable tensor, in layer order, generator first."""
    shapes = {}
    for network in ("generator", "discriminator"):
        for index, spec in enumerate(getattr(architecture, network)):
            for parameter, shape in _parameter_shapes(spec):
                shapes[f"{network}.layers.{index}.{parameter}"] = shape
    return shapes


def count_parameters(architecture: Architecture) -> dict[str, int]:
    """Trainable numbers of each network."""
    counts = {"generator": 0, "discriminator": 0}
    for name, shape in weight_shapes(architecture).items():
        counts[name.split(".")[0]] += math.prod(shape)
    return counts


def batch_norms(architecture: Architecture) -> dict[str, BatchNorm]:
    """Canonical name (`generator.layers.1`) of every BatchNorm, whose buffers belong to the weights too."""
    return {
        f"{network}.layers.{index}": spec
        for network in ("generator", "discriminator")
        for index, spec in enumerate(getattr(architecture, network))
        if isinstance(spec, BatchNorm)
    }


def _parameter_shapes(spec: LayerSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    match spec:
        case Conv():
            yield "weight", (spec.out_channels, spec.in_channels, spec.kernel_size, spec.kernel_size)
        case ConvTranspose():
            yield "weight", (spec.in_channels, spec.out_channels, spec.kernel_size, spec.kernel_size)
        case BatchNorm():
            yield "weight", (spec.num_features,)
            yield "bias", (spec.num_features,)
    if isinstance(spec, Conv | ConvTranspose) and spec.bias:
        yield "bias", (spec.out_channels,)


def _up(
    in_channels: int, out_channels: int, *, kernel_size: int = 4, stride: int = 2, padding: int = 1
) -> tuple[LayerSpec, ...]:
    up = ConvTranspose(in_channels, out_channels, kernel_size, stride, padding)
    return (up, BatchNorm(out_channels), ReLU())


def _down(in_channels: int, out_channels: int) -> tuple[LayerSpec, ...]:
    return (Conv(in_channels, out_channels, 4, 2, 1), BatchNorm(out_channels), LeakyReLU())
