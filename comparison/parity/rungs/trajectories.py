"""Rungs 11 and 12: many steps, in float64 as far as it can predict, in float32 as far as its own noise goes."""

import math
from collections.abc import Generator, Iterator

import numpy as np

from common.contract import Weights
from comparison.parity.divergence import relative_l2
from comparison.parity.pair import Measurement, Pair, Snapshot, Trajectory
from comparison.parity.probes.probe import Probe
from comparison.parity.rounding_noise import NOISE_FACTOR, disturbed_trajectories, nudges, reordered_trajectories

TRAJECTORY_TOLERANCES = {10: 1e-11, 20: 1e-11, 50: 1e-11, 100: 1e-11, 300: 1e-8}
HANDED_OVER_FROM, HANDED_OVER_EVERY = 50, 10
# Left alone, a trajectory is compared up to where rounding costs PyTorch less than this share of the tolerance: at
# full width and a high learning rate that may be short of step 50.
PREDICTABLE = {10: math.inf, 20: 0.1, 50: 0.1, 100: 1e-3, 300: 1e-3}
NOISE_STEPS = (1, 2, 5, 10, 20, 50, 100)


def trajectory(pair: Pair, precision: str) -> Iterator[Measurement]:
    """All weights together and the losses, over many steps in float64.

    Left alone, both are followed as far as float64 can predict: until PyTorch parts from itself, one last bit moved or
    its batches in another order. Beyond, JAX takes over PyTorch's state every few steps, and both must take the same
    steps from there.
    """
    if precision != "float64":
        return  # rung 12 takes its place
    followed_to, remark = yield from _left_alone(pair)
    yield from _handed_over(pair, min(followed_to, HANDED_OVER_FROM), remark)


def _left_alone(pair: Pair) -> Generator[Measurement, None, tuple[int, str]]:
    """Returns how far it went, and why no further."""
    nudged = pair.trajectory(pair.torch, "float64", nudge=nudges(pair)[0])
    on_other_threads = pair.trajectory(pair.torch, "float64", other_num_threads=True)
    disturbed = [nudged, on_other_threads, next(reordered_trajectories(pair, pair.torch, "float64"))]
    followed_to = 0
    reference, measured = (pair.trajectory(probe, "float64") for probe in pair.probes)
    for step, tolerance in TRAJECTORY_TOLERANCES.items():
        if step > pair.num_steps:
            break
        noise = max(_noise(run.at(step), reference.at(step)) for run in disturbed)
        if not noise <= PREDICTABLE[step] * tolerance:
            return followed_to, f" (left alone, a disturbed torch parts by {noise:.0e} until step {step})"
        name = f"{step} steps, left alone (torch disturbed: {noise:.0e})"
        yield from _compared(name, measured.at(step), reference.at(step), tolerance)
        followed_to = step
    return followed_to, ""


def _noise(disturbed: Snapshot, reference: Snapshot) -> float:
    """The worse of parameters and losses: where D wins, a loss is a small number that amplifies what they differ by."""
    distance = distance_of(disturbed.weights, reference.weights)
    return max(distance, relative_l2(disturbed.metrics, reference.metrics))


def _handed_over(pair: Pair, first_step: int, remark: str) -> Iterator[Measurement]:
    start = pair.trajectory(pair.torch, "float64").at(first_step).weights
    reference = Trajectory(pair, pair.torch, "float64", start, step=first_step)
    for last_step, tolerance in TRAJECTORY_TOLERANCES.items():
        if not first_step < last_step <= pair.num_steps:
            continue
        worst: list[Measurement] = []
        for step in range(first_step, last_step, HANDED_OVER_EVERY):
            follower = Trajectory(pair, pair.jax, "float64", reference.state, step=step)
            end = step + HANDED_OVER_EVERY
            name = f"steps {first_step + 1}-{last_step}, handed over every {HANDED_OVER_EVERY}{remark}"
            found = list(_compared(name, follower.at(end), reference.at(end), tolerance))
            worst = [max(both, key=_measured_value) for both in zip(worst or found, found, strict=True)]
        yield from worst
        first_step = last_step


def _measured_value(measurement: Measurement) -> float:
    return measurement.measured


def _compared(name: str, found: Snapshot, expected: Snapshot, tolerance: float) -> Iterator[Measurement]:
    distance = distance_of(found.weights, expected.weights)
    yield Measurement(11, f"{name}: parameters", "float64", distance, tolerance)
    # A trajectory that took over at a step has metrics only from there on.
    error = relative_l2(found.metrics, expected.metrics[:, -found.metrics.shape[1] :])
    yield Measurement(11, f"{name}: losses, scores", "float64", error, tolerance)


def noise_floor(pair: Pair, precision: str) -> Iterator[Measurement]:
    """The float32 gap between the frameworks, in units of the largest gap of either to a disturbed self."""
    if precision != "float32":
        return
    wanted = [step for step in NOISE_STEPS if step <= pair.num_steps]
    undisturbed = {probe: pair.trajectory(probe, precision) for probe in pair.probes}
    reference, measured = undisturbed.values()
    gaps = {step: distance_of(measured.at(step).weights, reference.at(step).weights) for step in wanted}
    envelope = dict.fromkeys(wanted, 0.0)

    def widen(probe: Probe, disturbed: Trajectory, steps: list[int]) -> None:
        for step in steps:
            distance = distance_of(disturbed.at(step).weights, undisturbed[probe].at(step).weights)
            envelope[step] = max(envelope[step], distance)

    for probe in pair.probes:
        for disturbed in disturbed_trajectories(pair, probe, precision):
            widen(probe, disturbed, wanted)
        # JAX runs float64 without XLA's fast convolutions: it is followed no further than rung 11 did.
        widen(probe, pair.trajectory(probe, "float64"), [step for step in wanted if step <= HANDED_OVER_FROM])
    for reordered in zip(*(reordered_trajectories(pair, probe, precision) for probe in pair.probes), strict=True):
        if not any(NOISE_FACTOR * envelope[step] < gaps[step] < math.inf for step in wanted):
            break
        for probe, disturbed in zip(pair.probes, reordered, strict=True):
            widen(probe, disturbed, wanted)
    for step in wanted:
        name = f"step {step}: gap {gaps[step]:.1e}, envelope {envelope[step]:.1e}"
        share = gaps[step] / envelope[step] if math.isfinite(envelope[step]) else math.inf
        yield Measurement(12, name, precision, share, NOISE_FACTOR)


def distance_of(measured: Weights, reference: Weights) -> float:
    """Relative L2 distance of all parameters of both networks as one vector."""
    names = [name for name in reference if ".adam." not in name and ".running_" not in name]
    joined = [
        np.concatenate([weights[name].ravel().astype(np.float64) for name in names])
        for weights in (measured, reference)
    ]
    return relative_l2(*joined)
