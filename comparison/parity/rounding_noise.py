"""What rounding alone does: a framework against itself, computed in ways that differ in nothing else.

An activation that rounding carries over the kink of a LeakyReLU changes a gradient by 0.1 %, and Adam's first step
is the sign of a gradient, however small: at full width, where a layer has half a million activations, most tensors
of a step meet one or the other. No fixed tolerance tells that from a bug; what rounding does to PyTorch alone does.
A deep network's activations exceed a fixed tolerance by rounding alone. Losses, scores, layers by themselves and
generated images have no such excuse. In float64 two things have it, up to ten times their tolerance: what a step
leaves, and running statistics after ten steps. After 50 steps running statistics have no bound.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from common.contract import Weights
from common.data.randomness import stream
from comparison.parity.divergence import Distance, accumulation, errors, first_divergence, relative_l2
from comparison.parity.pair import Measurement, Pair, Trajectory
from comparison.parity.probes.probe import Probe

NUM_NUDGES, NUM_REORDERINGS = 5, 40
NOISE_FACTOR = 2.0


class Nudge(NamedTuple):
    """Moves every kernel and scale up or down by its last bit, seeded."""

    seed: int
    number: int

    def __call__(self, weights: Weights) -> Weights:
        draw = stream(self.seed, "parity/nudge", self.number)
        moved = dict(weights)
        for name, array in weights.items():
            if name.endswith(".weight"):
                towards = np.where(draw.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
                moved[name] = np.nextafter(array, towards)
        return moved


class Reordering(NamedTuple):
    """Puts every batch into another order, seeded: at every step the same sums, rounded otherwise."""

    seed: int
    number: int

    def __call__(self, images: np.ndarray, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = stream(self.seed, "parity/reordering", self.number).permutation(images.shape[1])
        return images[:, order], latents[:, :, order]


def nudges(pair: Pair) -> list[Nudge]:
    """Five nudges: one alone can lag behind by a factor of a thousand until it, too, meets a kink."""
    return [Nudge(pair.config.seed, number) for number in range(NUM_NUDGES)]


def reordered_trajectories(pair: Pair, probe: Probe, precision: str) -> Iterator[Trajectory]:
    """Forty runs on batches in other orders, which few need: they are not kept.

    A small network meets a kink of LeakyReLU so rarely that a last bit moved once, at the start, may never carry it
    over one; rounding at every step does.
    """
    for number in range(NUM_REORDERINGS):
        start = pair.initial_weights(precision)
        yield Trajectory(pair, probe, precision, start, reorder=Reordering(pair.config.seed, number))


def disturbed_trajectories(pair: Pair, probe: Probe, precision: str) -> Iterator[Trajectory]:
    """Five nudges of the start, and torch itself computing otherwise.

    In float64 that is on another number of threads: a weight whose first gradient is below Adam's epsilon, 1e-8, moves
    by that gradient times 1e8, and how its sum was split decides the last bits of all that follows. In float32 it is
    torch's other memory format, which rung 8 certifies in float64. So it is in float64 on a GPU, where threads split
    nothing.
    """
    splits_by_threads = precision == "float64" and probe.device_name == "cpu"
    if probe is pair.torch and splits_by_threads:
        yield pair.trajectory(probe, precision, other_num_threads=True)
    for nudge in nudges(pair):
        yield pair.trajectory(probe, precision, nudge=nudge)
    if probe is pair.torch and not splits_by_threads:
        yield pair.trajectory(probe, precision, variant=pair.other_variant)


def activations(probe: Probe, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> Weights:
    """Every layer's output for given inputs, by canonical name, in the order of execution."""
    outputs = probe.activations(trainer, network, inputs.astype(np.float64), train=train)
    return {f"{network}.layers.{index}": output for index, output in enumerate(outputs)}


def disturbed_activations(pair: Pair, network: str, inputs: np.ndarray, *, train: bool) -> Iterator[Weights]:
    """PyTorch's float32 activations from nudged weights, and in its other memory format."""
    for trainer in _disturbed_trainers(pair):
        yield activations(pair.torch, trainer, network, inputs, train=train)


def disturbed_gradients(pair: Pair) -> Iterator[Weights]:
    """PyTorch's float32 gradients of the first step: nudged weights, the other memory format, batches reordered."""
    images, latents = pair.data(0, 1)
    for trainer in _disturbed_trainers(pair):
        yield pair.torch.gradients(trainer, images[0], latents[0, 0])
    for number in range(NUM_REORDERINGS):
        other_images, other_latents = Reordering(pair.config.seed, number)(images, latents)
        trainer = pair.trainer(pair.torch, "float32")
        yield pair.torch.gradients(trainer, other_images[0], other_latents[0, 0])


def _disturbed_trainers(pair: Pair) -> Iterator[Any]:
    start = pair.initial_weights("float32")
    for nudge in nudges(pair):
        yield pair.trainer(pair.torch, "float32", weights=nudge(start))
    yield pair.trainer(pair.torch, "float32", variant=pair.other_variant)


def against_noise(
    rung: int,
    name: str,
    precision: str,
    *,
    measured: Mapping[str, float],
    tolerance: float,
    reference: Weights,
    disturbed: Callable[[], Iterator[Weights]] | None,
    at_most: float = math.inf,
    distance: Distance = relative_l2,
) -> Measurement:
    """The tensor with the least head-room; one beyond the tolerance is held against twice what rounding does to it.

    `measured` is in the order of execution, `reference` is PyTorch's undisturbed result, `disturbed` its other ones;
    without those, and where a tensor is further off than `at_most`, the tolerance stands. A NaN excuses nothing.
    """
    beyond = [tensor for tensor, error in measured.items() if not error <= tolerance]
    allowed = dict.fromkeys(measured, tolerance)
    if beyond and disturbed and all(np.isfinite(measured[t]) and measured[t] <= at_most for t in beyond):
        for weights in disturbed():
            noise = errors({tensor: weights[tensor] for tensor in beyond}, {t: reference[t] for t in beyond}, distance)
            for tensor, error in noise.items():
                if np.isfinite(error):
                    allowed[tensor] = max(allowed[tensor], NOISE_FACTOR * error)
            if all(measured[tensor] <= allowed[tensor] for tensor in beyond):
                break  # each further one costs the whole trajectory again
        name += f", {len(beyond)} of {len(measured)} against rounding"
    worst = max(measured, key=lambda tensor: measured[tensor] / allowed[tensor])
    if measured[worst] <= allowed[worst]:
        return Measurement(rung, name, precision, measured[worst], allowed[worst], worst)
    explained = {tensor: error if not error <= allowed[tensor] else 0.0 for tensor, error in measured.items()}
    first = first_divergence(accumulation(explained), tolerance=tolerance)
    return Measurement(rung, name, precision, measured[worst], allowed[worst], str(first or worst))
