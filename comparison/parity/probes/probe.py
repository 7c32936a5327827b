"""What the ladder asks of a framework beyond the training contract: the pieces of a step, one at a time.

Arrays are NumPy in canonical order (images NCHW, weights as in common/contract.py), whatever the framework computes in.
"""

import copy
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from common.config import TrainConfig
from common.contract import Weights
from common.networks.layers import Architecture, LayerSpec
from common.records.accelerator import flags_on


class LayerCase(NamedTuple):
    """A layer and what to try it on: weights are named as the layer does (weight, running_mean, ...)."""

    spec: LayerSpec
    inputs: np.ndarray
    cotangent: np.ndarray
    weights: Weights


class Probe(ABC):
    """One framework, taken apart. A trainer is the framework's own, made by `create_trainer`."""

    name: str
    device_module: Any
    trainer_module: Any

    def __init__(
        self,
        device_name: str = "cpu",
        execution: str = "auto",
        *,
        compiled: bool = False,
        precision: str | None = None,
    ) -> None:
        self._device_name = device_name
        self._execution = execution
        self._compiled = compiled
        self._precision = precision  # of every trainer, whatever its config says
        self.device_flags: dict[str, Any] = {}

    @cached_property
    def device(self) -> Any:
        """Found at first use, after `configure`: the flags are read when a device starts."""
        device = self.device_module.select_device(self._device_name)
        # Half of the ladder is in float64, which not every GPU has.
        return device if self.device_module.has_float64(device) else self.device_module.select_device("cpu")

    @property
    def device_name(self) -> str:
        """As a run records it."""
        return self.device_module.device_name(self.device)

    def configure(self, *, num_threads: int, deterministic: bool = False) -> None:
        """Set the framework's process-wide flags, before anything else of it runs, and note them as a run does."""
        flags = self.device_module.configure(num_threads=num_threads, deterministic=deterministic)
        self.device_flags = flags_on(self.device_name, flags)

    def other_num_threads(self) -> AbstractContextManager[None]:
        """Within it sums are split over another number of threads, where a running process can change that."""
        return nullcontext()

    def create_trainer(self, config: TrainConfig, architecture: Architecture, images: np.ndarray | None = None) -> Any:
        """A trainer as training uses it, without weights yet; without images it does not train."""
        make = self.trainer_module.create_compiled_trainer if self._compiled else self.trainer_module.create_trainer
        config = replace(config, precision=self._precision or config.precision)
        return make(config, architecture, self.device, images, self.execution_of(config))

    def executing(self, execution: str) -> Self:
        """The same framework, whose new trainers have their steps in this form."""
        other = copy.copy(self)
        other._execution = execution
        return other

    def execution_of(self, config: TrainConfig) -> str:
        """As a run would choose; but where PyTorch has no graph, `chunk` climbs with all that is around one."""
        if config.variant == "idiomatic":
            return "step"
        is_chosen = self._execution == "auto"
        return self.device_module.choose_execution("auto", self.device) if is_chosen else self._execution

    def addresses(self, trainer: Any) -> dict[str, int]:
        """Where each tensor lies that loading must leave in its place; nowhere, where arrays are never written to."""
        return {}

    @abstractmethod
    def layer(self, config: TrainConfig, case: LayerCase, *, train: bool) -> Weights:
        """One layer alone, forward and backward: output, gradients for the cotangent, running statistics after it."""

    @abstractmethod
    def activations(self, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> list[np.ndarray]:
        """Every layer's output, in execution order, as the trainer's own network computes it."""

    @abstractmethod
    def outputs(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        """Images, and logits of real images and of those, as the networks are called in train mode: statistics move."""

    @abstractmethod
    def losses(self, config: TrainConfig, real_logits: np.ndarray, fake_logits: np.ndarray) -> Weights:
        """Both losses for given logits and the config's targets, and their gradients by name."""

    @abstractmethod
    def gradients(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        """Gradients of D's loss for D, and of G's loss through the same D for G, by parameter name."""

    @abstractmethod
    def loss_values(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> dict[str, float]:
        """Both networks' losses in train mode, nothing updated, by network: what `gradients` differentiates."""

    @abstractmethod
    def adam(self, config: TrainConfig, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        """Parameters (T, n) after each of T updates of a vector by given gradients (T, n)."""

    @abstractmethod
    def fed(self, trainer: Any, indices: np.ndarray, latents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each step's images and latents of a chunk, read back from the device right before the step."""

    @abstractmethod
    def network_inputs(self, trainer: Any, real_images: np.ndarray) -> np.ndarray:
        """The discriminator's input for uint8 images: in [-1, 1], NCHW."""

    @abstractmethod
    def dtypes(self, trainer: Any) -> dict[str, str]:
        """The dtype of every floating-point leaf of networks and optimizers, as the framework holds it."""

    @abstractmethod
    def hidden_state(self, trainer: Any) -> dict[str, Any]:
        """Whatever the trainer, its networks and its optimizers hold that `export_weights` does not carry."""


def numbers_of(name: str, thing: Any) -> dict[str, Any]:
    """The attributes of an object that are a number or a word, by name."""
    return {f"{name}.{key}": value for key, value in vars(thing).items() if isinstance(value, bool | int | float | str)}
