"""From a configuration to its networks, and the tensors that they hold."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from common.config import TrainConfig
from common.errors import UserError
from common.networks.layers import Architecture, BatchNorm, Conv, LayerSpec, Linear, parameter_shapes
from common.networks.presets import PRESETS

IMAGE_CHANNELS = (1, 3)
FIRST_WEIGHT = "discriminator.layers.0.weight"


def build_architecture(config: TrainConfig, *, image_channels: int = 1, width: int | None = None) -> Architecture:
    """The networks of `config.preset`, at its own width unless another is given."""
    if config.preset not in PRESETS:
        raise UserError(f"preset {config.preset!r} is unknown: choose one of {', '.join(PRESETS)}")
    preset = PRESETS[config.preset]
    if config.image_size != preset.recipe.image_size:
        raise UserError(
            f"preset {config.preset} makes {preset.recipe.image_size} px images, not {config.image_size}: "
            f"leave --image-size out or choose another --preset"
        )
    sizes = {"latent_dim": config.latent_dim, "image_channels": image_channels}
    networks = preset.network(width=width or preset.width, **sizes)
    return Architecture(networks.generator, networks.discriminator, image_size=config.image_size, **sizes)


def architecture_of(config: TrainConfig, weights: Mapping[str, np.ndarray]) -> Architecture:
    """The preset's networks at the width and with the channels that these tensors have, which may not fit otherwise."""
    shape = weights.get(FIRST_WEIGHT, np.empty(())).shape
    first = build_architecture(config, width=1).discriminator[0]
    assert isinstance(first, Conv | Linear)
    inputs = first.in_size**2 if isinstance(first, Linear) else 1
    width, channels = (shape[0] // first.out_channels, shape[1] // inputs) if len(shape) > 1 else (0, 0)
    if width < 1 or channels not in IMAGE_CHANNELS:
        raise UserError(f"{FIRST_WEIGHT} is missing, or its shape {shape} is none of preset {config.preset}")
    return build_architecture(config, width=width, image_channels=channels)


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Canonical name and shape of every trainable tensor, in layer order, generator first."""
    return {
        f"{name}.{parameter}": shape
        for name, spec in _layers(architecture)
        for parameter, shape in parameter_shapes(spec)
    }


def count_parameters(architecture: Architecture) -> dict[str, int]:
    """Trainable numbers of each network."""
    counts = {"generator": 0, "discriminator": 0}
    for name, shape in weight_shapes(architecture).items():
        counts[name.split(".")[0]] += math.prod(shape)
    return counts


def batch_norms(architecture: Architecture) -> dict[str, BatchNorm]:
    """Canonical name (`generator.layers.1`) of every BatchNorm, whose buffers belong to the weights too."""
    return {name: spec for name, spec in _layers(architecture) if isinstance(spec, BatchNorm)}


def _layers(architecture: Architecture) -> Iterator[tuple[str, LayerSpec]]:
    for network in ("generator", "discriminator"):
        for index, spec in enumerate(getattr(architecture, network)):
            yield f"{network}.layers.{index}", spec
