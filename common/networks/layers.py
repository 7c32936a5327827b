"""Networks as data: a spec for each layer, of which both frameworks build a module."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """The fields of `Conv` and of `ConvTranspose`, whose kernels are square."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    bias: bool = False


@dataclass(frozen=True)
class Conv(Convolution):
    """Convolution with explicit zero padding; output size floor((S + 2 padding - kernel) / stride) + 1."""


@dataclass(frozen=True)
class ConvTranspose(Convolution):
    """Transpose of `Conv`, padding in torch's sense: output size (S - 1) stride - 2 padding + kernel."""


@dataclass(frozen=True)
class Linear:
    """Every number of an image (C, S, S) to every one of another; a vector is an image of one pixel.

    Flattened, an image has its channels first (torch's order): `weight` is (out C S S, in C S S).
    """

    in_channels: int
    out_channels: int
    in_size: int = 1
    out_size: int = 1
    bias: bool = True

    @property
    def in_features(self) -> int:
        """Length of a flattened input."""
        return self.in_channels * self.in_size**2

    @property
    def out_features(self) -> int:
        """Length of a flattened output."""
        return self.out_channels * self.out_size**2


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


LayerSpec = Conv | ConvTranspose | Linear | BatchNorm | LeakyReLU | ReLU | Tanh


@dataclass(frozen=True)
class Networks:
    """The layers of both networks, in the order in which they are applied."""

    generator: tuple[LayerSpec, ...]
    discriminator: tuple[LayerSpec, ...]


@dataclass(frozen=True)
class Architecture(Networks):
    """A generator from (B, latent_dim, 1, 1) to images, and a discriminator from images to one logit each."""

    latent_dim: int
    image_size: int
    image_channels: int


def parameter_shapes(spec: LayerSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each trainable tensor of one layer, in canonical axis order (common/contract.py)."""
    match spec:
        case Conv():
            yield "weight", (spec.out_channels, spec.in_channels, spec.kernel_size, spec.kernel_size)
        case ConvTranspose():
            yield "weight", (spec.in_channels, spec.out_channels, spec.kernel_size, spec.kernel_size)
        case Linear():
            yield "weight", (spec.out_features, spec.in_features)
        case BatchNorm():
            yield "weight", (spec.num_features,)
            yield "bias", (spec.num_features,)
    if isinstance(spec, Convolution | Linear) and spec.bias:
        yield "bias", (spec.out_features if isinstance(spec, Linear) else spec.out_channels,)
