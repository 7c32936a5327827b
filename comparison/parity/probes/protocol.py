"""What the ladder asks of a framework beyond the training contract: the pieces of a step, one at a time.

Arrays are NumPy in canonical order (images NCHW, weights as in common/contract.py), whatever the framework computes in.
"""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.config import TrainConfig
from common.contract import Weights
from common.networks.layers import Architecture, LayerSpec


class LayerResult(NamedTuple):
    """One layer's output, its gradients for a given cotangent, and its buffers after the call."""

    outputs: np.ndarray
    input_gradient: np.ndarray
    weight_gradients: Weights
    buffers: Weights


class Probe(Protocol):
    """One framework, taken apart. A trainer is the framework's own, made by `create_trainer`."""

    @property
    def name(self) -> str: ...

    @property
    def device_name(self) -> str:
        """As a run records it."""
        ...

    def configure(self, *, num_threads: int) -> None:
        """Set the framework's process-wide flags, before anything else of it runs."""
        ...

    def other_num_threads(self) -> AbstractContextManager[None]:
        """Within it sums are split over another number of threads, where a running process can change that."""
        ...

    def create_trainer(self, config: TrainConfig, architecture: Architecture) -> Any:
        """A CPU trainer as training uses it, without weights yet."""
        ...

    def layer(
        self,
        config: TrainConfig,
        spec: LayerSpec,
        weights: Weights,
        inputs: np.ndarray,
        cotangent: np.ndarray,
        *,
        train: bool,
    ) -> LayerResult:
        """One layer alone, forward and backward; `weights` by the layer's own names (weight, running_mean, ...)."""
        ...

    def activations(self, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> list[np.ndarray]:
        """Every layer's output, in execution order, as the trainer's own network computes it."""
        ...

    def losses(
        self,
        config: TrainConfig,
        real_logits: np.ndarray,
        fake_logits: np.ndarray,
        *,
        real_target: float,
        fake_target: float,
        generator_target: float,
    ) -> Weights:
        """Both losses for given logits, and their gradients by name."""
        ...

    def gradients(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        """Gradients of D's loss for D, and of G's loss through the same D for G, by parameter name."""
        ...

    def adam(self, config: TrainConfig, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        """Parameters (T, n) after each of T updates of a vector by given gradients (T, n)."""
        ...

    def fed(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each step's images and latents of a chunk, read back from the device right before the step."""
        ...

    def network_inputs(self, trainer: Any, real_images: np.ndarray) -> np.ndarray:
        """Bytes as the discriminator sees them."""
        ...

    def loss_values(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> dict[str, float]:
        """Both networks' losses in train mode, nothing updated, by network: what `gradients` differentiates."""
        ...

    def dtypes(self, trainer: Any) -> dict[str, str]:
        """The dtype of every floating-point leaf of networks and optimizers, as the framework holds it."""
        ...
