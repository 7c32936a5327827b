"""What both implementations promise to the training loop: NumPy in, NumPy out, the same for each framework.

Weights travel under canonical names, torch's, in torch's axis order:

    generator.layers.0.weight             Conv: (out, in, kernel, kernel); ConvTranspose: (in, out, kernel, kernel)
    generator.layers.1.weight, .bias      BatchNorm's scale and shift (features,)
    generator.layers.1.running_mean       and .running_var, the unbiased one (features,)
    generator.layers.0.weight.adam.exp_avg      and .adam.exp_avg_sq, shaped as their parameter
    generator.adam.step                   updates made so far, int64 ()

and the same for `discriminator`. The number is the layer's place in `Architecture.generator`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.config import TrainConfig
from common.networks.build import batch_norms, weight_shapes
from common.networks.layers import Architecture

Weights = dict[str, np.ndarray]
NETWORKS = ("generator", "discriminator")
# Storage type of weights and optimizer moments; bfloat16 is an arithmetic over float32 weights.
STORAGE_DTYPES = {"float32": np.float32, "bfloat16": np.float32, "float64": np.float64}


class StepMetrics(NamedTuple):
    """What a chunk of K steps measured, each (K,), from logits before the respective update."""

    discriminator_loss: np.ndarray  # real term + fake term
    generator_loss: np.ndarray  # of the step's last generator update
    real_score: np.ndarray  # D(x), mean sigmoid over the batch
    fake_score: np.ndarray  # D(G(z)), as the discriminator update saw it


def is_averaged(name: str) -> bool:
    """Whether a tensor of the trainer has a running average: the generator's own, without Adam's."""
    return name.startswith("generator.") and ".adam." not in name


class Trainer(Protocol):
    """A generator, a discriminator and their optimizers: all the training loop ever sees of a framework."""

    def train_chunk(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray) -> StepMetrics:
        """Run K steps on the training images of indices int32 (K, B), and on float32 latents (K, L, B, Z).

        After each step the generator's average keeps `decays`, float64 (K,), of itself and takes the rest of the
        generator. The images lie on the device already, and nothing depends on how steps are cut into chunks.
        """
        ...

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Images of the generator's average in eval mode for latents (N, Z): float32 (N, S, S[, 3]) in [-1, 1]."""
        ...

    def load_weights(self, weights: Weights, average: Weights | None = None) -> None:
        """Replace parameters, BatchNorm statistics, Adam moments and step counts; no average is the weights' own."""
        ...

    def export_weights(self) -> Weights:
        """Copies of all that `load_weights` sets but the average."""
        ...

    def export_average(self) -> Weights:
        """A copy of the generator's average, under the generator's names."""
        ...

    def wait(self) -> None:
        """Return when all queued work is done; the clock reads only after it."""
        ...


class InspectableTrainer(Trainer, Protocol):
    """A trainer whose discriminator can be looked into, which features and pictures need and training does not."""

    def discriminator_activations(self, images: np.ndarray) -> list[np.ndarray]:
        """What each LeakyReLU of D returns in eval mode for uint8 images (N, S, S[, 3]): float32 (N, C, H, W)."""
        ...

    def discriminator_gradients(self, images: np.ndarray, *, layer: int, channels: np.ndarray) -> np.ndarray:
        """What in each uint8 image n excites channel `channels[n]` of D's LeakyReLU `layer`: float32 (N, S, S[, 3]).

        It is the guided gradient (Springenberg et al. 2015) of the channel's strongest activation, in eval mode, with
        respect to the image in [-1, 1].
        """
        ...


class WeightsError(ValueError):
    """A tensor is missing, unknown, or has the wrong shape; the message names it."""


def expected_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a `Weights`, optimizer state included."""
    parameters = weight_shapes(architecture)
    shapes: dict[str, tuple[int, ...]] = dict(parameters)
    for name, spec in batch_norms(architecture).items():
        shapes[f"{name}.running_mean"] = shapes[f"{name}.running_var"] = (spec.num_features,)
    for name, shape in parameters.items():
        shapes[f"{name}.adam.exp_avg"] = shapes[f"{name}.adam.exp_avg_sq"] = shape
    for network in NETWORKS:
        shapes[f"{network}.adam.step"] = ()
    return shapes


def check_weights(weights: Weights, architecture: Architecture, config: TrainConfig) -> None:
    """Raise WeightsError unless names, shapes and dtypes are exactly those of this architecture."""
    expected = expected_shapes(architecture)
    for name in expected:
        if name not in weights:
            raise WeightsError(f"{name} is missing: the weights are not of preset {config.preset}")
    for name in weights:
        if name not in expected:
            raise WeightsError(f"{name} is unknown: the weights are not of preset {config.preset}")
    for name, shape in expected.items():  # in layer order, so that the first tensor is named
        array = weights[name]
        if array.shape != shape:
            raise WeightsError(f"{name} has shape {array.shape}, but preset {config.preset} needs {shape}")
        dtype = np.int64 if name.endswith(".adam.step") else STORAGE_DTYPES[config.precision]
        if array.dtype != dtype:
            raise WeightsError(f"{name} is {array.dtype}, but precision {config.precision} stores {np.dtype(dtype)}")


@dataclass(frozen=True)
class Framework:
    """What a run asks of `torch_impl` or `jax_impl`; a device is the framework's own object."""

    configure: Callable[..., dict[str, Any]]  # of num_threads, deterministic and tf32
    select_device: Callable[[str], Any]
    choose_execution: Callable[[str, Any], str]  # `step` or `chunk`, of what was asked for and the device
    device_name: Callable[[Any], str]
    peak_memory: Callable[[Any], dict[str, Any]]
    create_trainer: Callable[
        ..., InspectableTrainer
    ]  # of config, architecture, device; to train also images and execution
    matrix_multiplication: Callable[[Any, int, str], Callable[..., None]]
    watch_compilation: Callable[[], Callable[[], float]]
    profile: Callable[[Callable[[], None], int], dict[str, float]]
    # Has the framework's compiler make the networks, the first chunk paying for it; none where it makes them anyhow.
    create_compiled_trainer: Callable[..., InspectableTrainer] | None = None
