"""What every rung is given: both frameworks, the configuration under test, and its data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from common.architectures import Architecture
from common.config import TrainConfig
from common.contract import Weights
from common.initial_weights import initial_weights
from common.loop import chunk_data
from common.randomness import epoch_permutation
from comparison.parity.probe import Probe

PRECISIONS = ("float64", "float32")


class Measurement(NamedTuple):
    """One comparison; it holds if the measured value does not exceed the tolerance (a NaN always does)."""

    rung: int
    name: str
    precision: str
    measured: float
    tolerance: float
    where: str = ""

    @property
    def holds(self) -> bool:
        return self.measured <= self.tolerance

    @property
    def headroom(self) -> float:
        """How many times the measured value would fit into the tolerance."""
        return self.tolerance / self.measured if self.measured > 0 else float("inf")


class Snapshot(NamedTuple):
    """A trainer after some steps, and the losses of each step up to there (2, step)."""

    weights: Weights
    losses: np.ndarray


@dataclass(frozen=True)
class Pair:
    """Both frameworks on one configuration; `num_steps` is how long the trajectories are followed."""

    torch: Probe
    jax: Probe
    config: TrainConfig
    architecture: Architecture
    train_images: np.ndarray
    num_steps: int

    @property
    def probes(self) -> tuple[Probe, Probe]:
        """The reference first."""
        return self.torch, self.jax

    def at(self, precision: str) -> TrainConfig:
        """The configuration in another precision."""
        return replace(self.config, precision=precision)

    def initial_weights(self, precision: str) -> Weights:
        """The weights both start from."""
        return initial_weights(self.at(precision), self.architecture)

    @cached_property
    def order(self) -> np.ndarray:
        """The images' order in the first epoch."""
        return epoch_permutation(self.config.seed, 0, len(self.train_images))

    def data(self, first_step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (K, B, S, S[, 3]) and latents (K, L, B, Z) of steps `first_step`.., as the loop feeds them."""
        num_steps = len(self.train_images) // self.config.batch_size
        start = first_step % num_steps
        count = min(count, num_steps - start)
        return chunk_data(self.config, self.train_images, self.order, start, count, first_step=first_step)

    def data_for(self, probe: Probe, step: int) -> tuple[np.ndarray, np.ndarray]:
        """One step's images and latents as `probe`'s trainer is handed them: the same for both, or a bug."""
        return self.data(step, 1)

    def train(self, trainer: Any, steps: list[int]) -> Iterator[tuple[int, Snapshot]]:
        """Train to each of the given steps in turn."""
        done, losses = 0, []
        for step in steps:
            while done < step:
                images, latents = self.data(done, min(16, step - done))
                metrics = trainer.train_chunk(images, latents)
                losses.append(np.stack([metrics.discriminator_loss, metrics.generator_loss]))
                done += len(images)
            yield step, Snapshot(trainer.export_weights(), np.concatenate(losses, axis=1))
