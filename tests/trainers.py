"""Small trainers of either framework, imported when one is built, and the data one chunk of theirs needs."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from common.config import TrainConfig
from common.contract import InspectableTrainer
from common.data.datasets import fit_images
from common.data.initial_weights import initial_weights
from common.data.randomness import training_latents
from common.networks.build import build_architecture
from common.networks.layers import Architecture
from common.networks.presets import PRESETS

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


def build(framework: str, config: TrainConfig, *, image_channels: int = 1) -> InspectableTrainer:
    """A trainer of the small networks that holds the config's initial weights."""
    return build_networks(framework, config, small_architecture(config, image_channels=image_channels))


def build_networks(framework: str, config: TrainConfig, architecture: Architecture) -> InspectableTrainer:
    """A trainer of any networks that holds the config's initial weights."""
    trainer, device = (importlib.import_module(f"{framework}_impl.{name}") for name in ("trainer", "device"))
    trainer = trainer.create_trainer(config, architecture, device.select_device("cpu"))
    trainer.load_weights(initial_weights(config, architecture))
    return trainer


def chunk_of(config: TrainConfig, digits: np.ndarray, *, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The first steps' images (K, B, S, S) and latents (K, L, B, Z)."""
    batch = config.batch_size
    images = fit_images(digits[: num_steps * batch], config.image_size)
    latents = [
        training_latents(
            config.seed, step, num_batches=config.latent_batches, batch_size=batch, latent_dim=config.latent_dim
        )
        for step in range(num_steps)
    ]
    return images.reshape(num_steps, batch, *images.shape[1:]).copy(), np.stack(latents)
