"""Small trainers of either framework, imported when one is built, and the data one chunk of theirs needs."""

import functools
import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.config import TrainConfig
from common.data.datasets import fit_images, load_dataset
from common.data.initial_weights import initial_weights
from common.data.randomness import training_latents
from common.networks.build import build_architecture
from common.networks.layers import Architecture
from common.networks.presets import PRESETS
from common.training.averaging import average_decays
from common.training.chunk_data import ChunkData

FRAMEWORKS = ("torch", "jax")
WIDTH = 4
# One preset for each kind of network: others differ in width and recipe.
DISTINCT_PRESETS = list({preset.network: name for name, preset in reversed(PRESETS.items())}.values())[::-1]


def slowly(*presets: str) -> list[object]:
    """Parameters that only `make test-long` takes."""
    return [pytest.param(preset, marks=pytest.mark.slow) for preset in presets]


def small_config(preset: str = "dcgan32", **changes: object) -> TrainConfig:
    """A preset with batches of 8 and latents of 16."""
    return replace(PRESETS[preset].recipe, **{"batch_size": 8, "latent_dim": 16, **changes})


def small_architecture(config: TrainConfig, *, image_channels: int = 1) -> Architecture:
    """Its networks at width 4."""
    return build_architecture(config, width=WIDTH, image_channels=image_channels)


def build(
    framework: str,
    config: TrainConfig,
    *,
    image_channels: int = 1,
    images: np.ndarray | None = None,
    execution: str = "step",
) -> Any:
    """A trainer of the small networks that holds the config's initial weights, and 512 digits if it gets no images."""
    architecture = small_architecture(config, image_channels=image_channels)
    return build_networks(framework, config, architecture, images=images, execution=execution)


def build_networks(
    framework: str,
    config: TrainConfig,
    architecture: Architecture,
    *,
    images: np.ndarray | None = None,
    execution: str = "step",
) -> Any:
    """A trainer of any networks that holds the config's initial weights."""
    images = real_digits(config.image_size) if images is None else images
    trainer, device = (importlib.import_module(f"{framework}_impl.{name}") for name in ("trainer", "device"))
    trainer = trainer.create_trainer(config, architecture, device.select_device("cpu"), images, execution)
    trainer.load_weights(initial_weights(config, architecture))
    return trainer


@functools.cache
def real_digits(size: int) -> np.ndarray:
    """512 digits, uint8 (512, S, S)."""
    return fit_images(load_dataset().train_images[:512], size)


def chunk_of(config: TrainConfig, *, num_steps: int) -> ChunkData:
    """The first steps on `real_digits`, in their order."""
    batch = config.batch_size
    latents = [
        training_latents(
            config.seed, step, num_batches=config.latent_batches, batch_size=batch, latent_dim=config.latent_dim
        )
        for step in range(num_steps)
    ]
    indices = np.arange(num_steps * batch, dtype=np.int32).reshape(num_steps, batch)
    decays = average_decays(config.generator_average, first_step=0, num_steps=num_steps)
    return ChunkData(indices, np.stack(latents), decays)


def steps_of(chunk: ChunkData, start: int, end: int) -> ChunkData:
    """Some steps of a chunk."""
    return ChunkData(*(array[start:end] for array in chunk))
