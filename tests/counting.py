"""A framework that does nothing but count, so that a whole run through the command takes a second."""

from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np

import common.commands.measure_step
import common.evaluation.pixel_components
import common.training.prepare
import common.training.run
import common.training.scoring
from common.commands.dispatch import standalone
from common.config import TrainConfig
from common.contract import Framework, StepMetrics, Weights, is_averaged
from common.data.datasets import Dataset
from common.data.initial_weights import initial_weights
from common.evaluation.plausibility import too_few_steps
from common.networks.layers import Architecture
from common.records.folder import RunFolder
from common.training.log import TrainingLog

STEPS_PER_EPOCH = 32  # two chunks
DATA_FLAGS = ["--preset=smoke", "--dataset=colours", "--train-size=0", "--batch-size=2", "--threads=1"]
FLAGS = [*DATA_FLAGS, "--skip-epoch-quality"]  # which takes longer than all that these runs are for


class CountingTrainer:
    """Each step adds a little to every weight, and one to Adam's counts."""

    def __init__(
        self,
        config: TrainConfig,
        architecture: Architecture,
        device: str,
        images: np.ndarray | None = None,
        execution: str = "step",
    ) -> None:
        self.config, self.architecture = config, architecture
        self.weights = initial_weights(config, architecture)

    def train_chunk(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray) -> StepMetrics:
        count = len(indices)
        for name, array in self.weights.items():
            added = count if name.endswith(".adam.step") else count / 1024
            self.weights[name] = np.asarray(array + array.dtype.type(added))
        return StepMetrics(*np.full((4, count), 0.5))

    def generate(self, latents: np.ndarray) -> np.ndarray:
        level = np.tanh(self.weights["generator.layers.0.weight"].mean())
        return np.full((len(latents), self.config.image_size, self.config.image_size, 3), level, np.float32)

    def discriminator_activations(self, images: np.ndarray) -> list[np.ndarray]:
        return []

    def discriminator_gradients(self, images: np.ndarray, *, layer: int, channels: np.ndarray) -> np.ndarray:
        return np.zeros(images.shape, np.float32)

    def load_weights(self, weights: Weights, average: Weights | None = None) -> None:
        self.weights = dict(weights)

    def export_weights(self) -> Weights:
        return dict(self.weights)

    def export_average(self) -> Weights:
        return {name: array for name, array in self.weights.items() if is_averaged(name)}

    def wait(self) -> None: ...


def colours(*_: object, **__: object) -> Dataset:
    """Random RGB images, 32 batches of them."""
    images = np.random.default_rng(0).integers(0, 256, (2 * STEPS_PER_EPOCH, 20, 20, 3), dtype=np.uint8)
    labels = np.zeros(len(images), np.int64)
    return Dataset("colours", images, labels, images, labels)


def say_whether_too_few(
    _: RunFolder, config: TrainConfig, log: TrainingLog, samples: np.ndarray, real_images: np.ndarray
) -> str:
    """What `draw` returns."""
    per_epoch = len(real_images) // config.batch_size
    return too_few_steps(samples, real_images, step=log.num_steps, steps_per_epoch=per_epoch)


def run(
    framework: str,
    *flags: object,
    trainer: Callable[..., CountingTrainer] = CountingTrainer,
    while_loading: Callable[[], object] = lambda: None,
    draws: bool = False,
) -> int:
    """`python -m FRAMEWORK_impl FLAGS`, as far as the twins share it; returns the exit code.

    Its pictures, without which it `draws` none, take longer than all the rest.
    """

    def load() -> Framework:
        while_loading()
        return Framework(
            configure=lambda **_: {},
            select_device=lambda name: name,
            choose_execution=lambda name, device: "step",
            device_name=lambda device: "cpu" if device == "auto" else device,
            peak_memory=lambda device: {"peak_memory_bytes": 0, "peak_memory_kind": "process"},
            create_trainer=trainer,
            matrix_multiplication=lambda device, size, precision: lambda times=1: None,
            watch_compilation=lambda: lambda: 0.0,
            profile=lambda run, num_steps: {},
        )

    stand_ins = [
        (common.training.prepare, "load_dataset", colours),
        (common.commands.measure_step, "load_dataset", colours),
        (common.training.scoring, "NUM_STANDARD", 4),
        (common.evaluation.pixel_components, "MAX_SIDE", 8),
        *([] if draws else [(common.training.run, "draw", say_whether_too_few)]),
    ]
    with ExitStack() as stack:
        for module, name, value in stand_ins:
            stack.enter_context(patch.object(module, name, value))
        return standalone(framework, load, [str(flag) for flag in flags])
