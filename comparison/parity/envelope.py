"""A program that rounds otherwise, in bfloat16 or by torch.compile, held against the float32 one of its framework.

Float64 cannot prove it, for in float64 it is another program. What rounding of its size may change is measured, as
TTrace does (arXiv 2506.09280), on the float32 twin itself: every kernel and scale is moved by its last bit, of as many
bits as the judged program computes with. Networks' outputs, gradients and ten steps may part from the twin's by twice
as much. The judged program is in no yardstick.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from common.contract import Weights
from common.data.randomness import stream
from comparison.parity.arms import Arm
from comparison.parity.divergence import errors
from comparison.parity.first_steps import NUM_STEPS
from comparison.parity.pair import Measurement, Pair, Snapshot, Trajectory
from comparison.parity.probes.probe import Probe
from comparison.parity.rounding_noise import NOISE_FACTOR, NUM_NUDGES, NUM_REORDERINGS, Nudge, Reordering
from comparison.parity.rungs.states import metrics_of_step, parts_of
from comparison.parity.rungs.trajectories import LEAST_ROUNDING

# Below it every gap is rounding.
LEAST = {"float64": 1e-14, "float32": LEAST_ROUNDING, "bfloat16": LEAST_ROUNDING}
BFLOAT16_BITS = 8  # of a number's digits, the first of which is not stored


class CoarseNudge(NamedTuple):
    """Moves every kernel and scale up or down by the last bit that bfloat16 would have of it, seeded."""

    seed: int
    number: int

    def __call__(self, weights: Weights) -> Weights:
        draw = stream(self.seed, "parity/coarse nudge", self.number)
        moved = dict(weights)
        for name, array in weights.items():
            if name.endswith(".weight"):
                last_bit = np.ldexp(np.ones_like(array), np.frexp(array)[1] - BFLOAT16_BITS)
                moved[name] = array + np.where(draw.random(array.shape) < 0.5, -last_bit, last_bit)
        return moved


class Disturbance(NamedTuple):
    """What the twin is disturbed by: nudged weights at the start, and from some number on batches in another order."""

    nudge: Nudge | CoarseNudge
    reorder: Reordering | None


# What a program makes of the first batches, from its initial weights or from disturbed ones.
Result = Callable[[Probe, Disturbance | None], Weights]


def twins(arm: Arm, kind: type[Probe], device_name: str, execution: str = "auto") -> tuple[Probe, Probe]:
    """The program that a ladder proves of an arm's framework and variant, which is the reference, and the arm's own."""
    precision = "float32" if arm.precision == "bfloat16" else arm.precision
    twin = kind(device_name, execution, precision=precision)
    judged = kind(device_name, execution, compiled=arm.compiled)
    twin.name, judged.name = f"the twin of {arm.name}", arm.name
    return twin, judged


def forward(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Images and logits in train mode, and the running statistics that they leave."""
    images, latents = pair.data(0, 1)

    def result(probe: Probe, disturbance: Disturbance | None) -> Weights:
        trainer = pair.trainer(probe, precision, weights=_start(pair, precision, disturbance))
        outputs = probe.outputs(trainer, images[0], latents[0, 0])
        return outputs | {name: array for name, array in trainer.export_weights().items() if ".running_" in name}

    yield _within(pair, 0, "outputs", precision, result, num_disturbances=NUM_NUDGES)  # whose order is the batch's


def gradients(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Gradients of every parameter, D's and G's."""
    data = pair.data(0, 1)

    def result(probe: Probe, disturbance: Disturbance | None) -> Weights:
        images, latents = disturbance.reorder(*data) if disturbance and disturbance.reorder else data
        trainer = pair.trainer(probe, precision, weights=_start(pair, precision, disturbance))
        return probe.gradients(trainer, images[0], latents[0, 0])

    yield _within(pair, 1, "gradients", precision, result)


def steps(pair: Pair, precision: str) -> Iterator[Measurement]:
    """What the first step measures and leaves in every tensor, and ten steps in all; of parameters, how they moved."""
    runs: dict[tuple[str, Disturbance | None], tuple[Weights, Trajectory]] = {}

    def moved(step: int, probe: Probe, disturbance: Disturbance | None) -> Snapshot:
        if (key := (probe.name, disturbance)) not in runs:
            start = _start(pair, precision, disturbance)
            reorder = disturbance.reorder if disturbance else None
            runs[key] = start, Trajectory(pair, probe, precision, start, reorder=reorder)
        start, run = runs[key]
        reached = run.at(step)
        of_parameters = {name for name in reached.weights if ".adam." not in name and ".running_" not in name}
        changes = {name: reached.weights[name] - start[name] for name in of_parameters}
        return Snapshot(reached.weights | changes, reached.metrics)

    def first(probe: Probe, disturbance: Disturbance | None) -> Weights:
        snapshot = moved(1, probe, disturbance)
        return metrics_of_step(snapshot, 1) | snapshot.weights

    yield _within(pair, 2, "step 1", precision, first)
    yield _within(
        pair, 2, f"{NUM_STEPS} steps", precision, lambda probe, disturbed: parts_of(moved(NUM_STEPS, probe, disturbed))
    )


RUNGS = (forward, gradients, steps)


def _start(pair: Pair, precision: str, disturbance: Disturbance | None) -> Weights:
    start = pair.initial_weights(precision)
    return disturbance.nudge(start) if disturbance else start


def _disturbances(pair: Pair, precision: str) -> Iterator[Disturbance]:
    """Five nudges, then nudges of batches in other orders: in float32 those alone may carry it over a kink."""
    nudge, seed = CoarseNudge if precision == "bfloat16" else Nudge, pair.config.seed
    for number in range(NUM_NUDGES + NUM_REORDERINGS):
        yield Disturbance(nudge(seed, number), None if number < NUM_NUDGES else Reordering(seed, number))


def _within(
    pair: Pair, rung: int, name: str, precision: str, result: Result, *, num_disturbances: int | None = None
) -> Measurement:
    """The tensor whose gap is the most of what disturbing the twin does to the same tensor: at most twice as much."""
    twin, judged = pair.probes
    undisturbed = result(twin, None)
    gaps = errors(result(judged, None), undisturbed)
    rounding = dict.fromkeys(gaps, LEAST[precision])
    for number, disturbance in enumerate(list(_disturbances(pair, precision))[:num_disturbances]):
        if number >= NUM_NUDGES and all(gap <= NOISE_FACTOR * rounding[tensor] for tensor, gap in gaps.items()):
            break  # each further one costs the steps again
        for tensor, distance in errors(result(twin, disturbance), undisturbed).items():
            if np.isfinite(distance):
                rounding[tensor] = max(rounding[tensor], distance)
    shares = {tensor: gap / rounding[tensor] for tensor, gap in gaps.items()}
    worst = max(shares, key=lambda tensor: np.inf if np.isnan(shares[tensor]) else shares[tensor])
    told = f"{name}: {worst} {gaps[worst]:.1e} apart, the twin from itself {rounding[worst]:.1e}"
    return Measurement(rung, told, precision, shares[worst], NOISE_FACTOR, worst)
