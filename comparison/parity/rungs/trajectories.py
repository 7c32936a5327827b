"""Rungs 11 to 13: many steps and late ones, in float64 by state handed over, in float32 as far as its own noise goes.

Left to themselves both part from one last bit, which training amplifies. So runs are short and start from many states.
Whatever a trainer holds is compared at their end: parameters, moments, running statistics, losses and scores.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from common.contract import Weights
from comparison.parity.divergence import errors, relative_l2
from comparison.parity.pair import Measurement, Pair, Snapshot, Trajectory
from comparison.parity.probes.probe import Probe
from comparison.parity.rounding_noise import NOISE_FACTOR, NUM_REORDERINGS, Reordering, nudges
from comparison.parity.rungs.states import errors_of_state, late_states, parts_of

LEFT_ALONE, HANDED_OVER_EVERY = 10, 5
# Up to a step: of all parameters as one vector, and of losses and scores. Further on losses may be small.
TRAJECTORY_TOLERANCES = {10: 1e-11, 50: 1e-11, 100: 1e-11, 300: 1e-9}
TENSOR_TOLERANCE = 1e-9  # of each tensor of the state by itself, however small
NUM_NOISE_STEPS, NUM_LATE_STEPS = 5, 2
# Half of what a layer by itself may be off (rung 3): last bits do not disturb all that the two compute otherwise.
LEAST_ROUNDING = 5e-6
# How many times one program's rounding the gap may be at most. PyTorch's BatchNorm is off by 4e-6 in float32, JAX's by
# 7e-7 (docs/results/parity.md): held against JAX's rounding, a gap that is mostly PyTorch's is six times as large.
NOISE_FACTORS = {"torch": NOISE_FACTOR, "jax": 6 * NOISE_FACTOR}


class Start(NamedTuple):
    """A state from which both programs take some steps, the first of them the one after `step`."""

    name: str
    weights: Weights
    step: int


def trajectory(pair: Pair, precision: str) -> Iterator[Measurement]:
    """All state and losses over many steps in float64, which no step may have changed.

    JAX is left alone for ten steps. From there on it takes over PyTorch's state every five, and must take the same next
    five.
    """
    if precision != "float64":
        return  # rung 12 takes its place
    reference = pair.trajectory(pair.torch, precision)
    alone, tolerance = pair.trajectory(pair.jax, precision).at(LEFT_ALONE), TRAJECTORY_TOLERANCES[LEFT_ALONE]
    yield from _compared(11, f"{LEFT_ALONE} steps, left alone", alone, reference.at(LEFT_ALONE), tolerance)
    for first_step, last_step in zip(TRAJECTORY_TOLERANCES, list(TRAJECTORY_TOLERANCES)[1:], strict=False):
        last_step = min(last_step, pair.num_steps)
        name = f"steps {first_step + 1}-{last_step}, handed over every {HANDED_OVER_EVERY}"
        tolerance = next(of for step, of in TRAJECTORY_TOLERANCES.items() if last_step <= step)
        worst: list[Measurement] = []
        for step in range(first_step, last_step, HANDED_OVER_EVERY):
            start, end = reference.at(step).weights, min(step + HANDED_OVER_EVERY, last_step)
            expected = reference.at(end)
            found = Trajectory(pair, pair.jax, precision, start, step=step).at(end)
            compared = list(_compared(11, name, found, expected, tolerance))
            worst = [max(both, key=_measured_value) for both in zip(worst or compared, compared, strict=True)]
        yield from worst


def _measured_value(measurement: Measurement) -> float:
    return math.inf if math.isnan(measurement.measured) else measurement.measured


def _compared(rung: int, name: str, found: Snapshot, expected: Snapshot, tolerance: float) -> Iterator[Measurement]:
    distance = distance_of(found.weights, expected.weights)
    yield Measurement(rung, f"{name}: parameters", "float64", distance, tolerance)
    # A run that took over at a step has metrics only from there on.
    error = relative_l2(found.metrics, expected.metrics[:, -found.metrics.shape[1] :])
    yield Measurement(rung, f"{name}: losses, scores", "float64", error, tolerance)
    tensors = errors_of_state(found.weights, expected.weights)
    yield Measurement.of_worst(rung, f"{name}: every tensor", "float64", tensors, TENSOR_TOLERANCE)


def noise_floor(pair: Pair, precision: str) -> Iterator[Measurement]:
    """The float32 gap after five steps from several states, in units of what rounding does to either program alone."""
    if precision != "float32":
        return
    run = pair.trajectory(pair.torch, precision)
    steps = sorted(step for step in {LEFT_ALONE, 50, pair.num_steps} if LEFT_ALONE <= step <= pair.num_steps)
    starts = [Start(f"steps {step + 1}-{step + NUM_NOISE_STEPS}", run.at(step).weights, step) for step in steps]
    first = Start(f"steps 1-{NUM_NOISE_STEPS}", pair.initial_weights(precision), 0)
    yield from _within_rounding(pair, 12, [first, *starts], NUM_NOISE_STEPS)


def late(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Steps from states that training reaches late or rarely: in float64 JAX's two and a first of the other variant."""
    if precision == "float32":
        starts = [Start(*state, LEFT_ALONE) for state in late_states(pair, precision)]
        yield from _within_rounding(pair, 13, starts, NUM_LATE_STEPS)
        return
    for state in late_states(pair, precision):
        reference = Trajectory(pair, pair.torch, precision, state.weights, step=LEFT_ALONE)
        arms = [(probe, pair.other_variant, 1) for probe in pair.probes]
        for probe, variant, num_steps in (*arms, (pair.jax, pair.config.variant, NUM_LATE_STEPS)):
            run = Trajectory(pair, probe, precision, state.weights, step=LEFT_ALONE, variant=variant)
            found, expected = (each.at(LEFT_ALONE + num_steps) for each in (run, reference))
            name = f"{state.name}, {probe.name} {variant}"
            yield from _compared(13, name, found, expected, TENSOR_TOLERANCE)


def _within_rounding(pair: Pair, rung: int, starts: Sequence[Start], num_steps: int) -> Iterator[Measurement]:
    """The gap after some steps from each state in units of PyTorch's own rounding, and of JAX's in half of the states.

    Each program's rounding is a yardstick by itself, and none contains the other: a program that computes coarsely has
    a wide one, and is held against the other's. JAX rounds less. An activation next to a kink of LeakyReLU may change
    sides in PyTorch alone, whatever disturbs JAX: that happens from a few states. Coarse arithmetic shows from all.
    """
    by_jax = []
    for start in starts:
        end = start.step + num_steps
        runs = {
            probe: parts_of(Trajectory(pair, probe, "float32", start.weights, step=start.step).at(end))
            for probe in pair.probes
        }
        gaps = errors(runs[pair.jax], runs[pair.torch])
        by_torch, of_jax = (_in_units_of(pair, probe, rung, start, end, runs[probe], gaps) for probe in pair.probes)
        yield by_torch
        by_jax.append(of_jax)
    yield worst_of_the_better_half(by_jax)


def worst_of_the_better_half(measurements: Sequence[Measurement]) -> Measurement:
    """It holds if at least half of them do."""
    num_better = (len(measurements) + 1) // 2
    middle = sorted(measurements, key=_measured_value)[num_better - 1]
    return middle._replace(name=f"{middle.name}, the worst of the better {num_better} of {len(measurements)} states")


def _in_units_of(
    pair: Pair, probe: Probe, rung: int, start: Start, end: int, undisturbed: Weights, gaps: dict[str, float]
) -> Measurement:
    """The part of the state with the largest gap beside the largest distance of one program to its disturbed self."""
    rounding, allowed = dict.fromkeys(gaps, LEAST_ROUNDING), NOISE_FACTORS[probe.name]
    disturbed_runs = _disturbed_runs(pair, probe, start.weights, start.step)
    # Each costs all steps again, and none explains a NaN.
    while any(allowed * rounding[part] < gap < math.inf for part, gap in gaps.items()):
        disturbed = next(disturbed_runs, None)
        if disturbed is None:
            break
        for part, distance in errors(parts_of(disturbed.at(end)), undisturbed).items():
            if math.isfinite(distance):
                rounding[part] = max(rounding[part], distance)
    shares = {part: gap / rounding[part] for part, gap in gaps.items()}
    worst = max(shares, key=shares.__getitem__)
    measured = f"{start.name}: {worst} {gaps[worst]:.1e} apart, {probe.name} from itself {rounding[worst]:.1e}"
    return Measurement(rung, measured, "float32", shares[worst], allowed, worst)


def _disturbed_runs(pair: Pair, probe: Probe, start: Weights, first_step: int) -> Iterator[Trajectory]:
    """Last bits moved at the start; in PyTorch the other memory format; then batches in other orders."""
    nudged = (Trajectory(pair, probe, "float32", nudge(start), step=first_step) for nudge in nudges(pair))
    other = [Trajectory(pair, probe, "float32", start, step=first_step, variant=pair.other_variant)]
    reordered = (
        Trajectory(pair, probe, "float32", start, step=first_step, reorder=Reordering(pair.config.seed, number))
        for number in range(NUM_REORDERINGS)
    )
    yield from chain(nudged, other if probe is pair.torch else (), reordered)


def distance_of(measured: Weights, reference: Weights) -> float:
    """Relative L2 distance of all parameters of both networks as one vector."""
    names = [name for name in reference if ".adam." not in name and ".running_" not in name]
    joined = [
        np.concatenate([weights[name].ravel().astype(np.float64) for name in names])
        for weights in (measured, reference)
    ]
    return relative_l2(*joined)
