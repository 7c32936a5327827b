"""Rungs 8 to 12: whole steps, running statistics, samples and trajectories of the trainers that training uses."""

from collections.abc import Iterator

import numpy as np

from common.contract import Weights
from common.images import to_uint8
from common.randomness import fixed_latents, stream
from comparison.parity.localise import accumulation, first_divergence
from comparison.parity.measure import errors, relative_l2
from comparison.parity.pair import Measurement, Pair, Snapshot, Trajectory
from comparison.parity.probe import Probe

STEP_TOLERANCES = {("float64", 1): 1e-12, ("float64", 2): 1e-12, ("float32", 1): 1e-4, ("float32", 2): 1e-3}
STATISTICS_TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
TRAJECTORY_TOLERANCES = {50: 1e-11, 100: 1e-11, 300: 1e-8}
HANDED_OVER_FROM, HANDED_OVER_EVERY = 50, 10
# Left alone, a trajectory is compared up to where a last bit moved costs less than this share of the tolerance.
PREDICTABLE = 1e-3
NOISE_STEPS = (1, 2, 5, 10, 20, 50, 100)
NUM_NUDGES = 5
NOISE_FACTOR = 2.0


def steps(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Parameters, Adam moments and losses after one step and after a second, of all four arms."""
    reference = pair.trajectory(pair.torch, precision)
    arms = {f"jax {pair.config.variant}": pair.trajectory(pair.jax, precision)}
    if precision == "float64":
        start, other = pair.initial_weights(precision), pair.other_variant
        for probe in pair.probes:
            arms[f"{probe.name} {other}"] = Trajectory(pair, probe, precision, start, variant=other)
    for arm, trajectory in arms.items():
        for step in (1, 2):
            expected, found = reference.at(step), trajectory.at(step)
            measured = errors(_in_execution_order(found, step), _in_execution_order(expected, step))
            largest = max(measured, key=measured.__getitem__)
            tolerance = STEP_TOLERANCES[precision, step]
            first = first_divergence(accumulation(measured), tolerance=tolerance)
            name = f"step {step}, {arm} against torch {pair.config.variant}"
            yield Measurement(8, name, precision, measured[largest], tolerance, str(first or largest))


def running_statistics(pair: Pair, precision: str) -> Iterator[Measurement]:
    """BatchNorm's running mean and variance."""
    tolerance = STATISTICS_TOLERANCES[precision]
    for step in (1, 10, 50) if precision == "float64" else (1,):
        reference, found = (_running(pair.trajectory(probe, precision).at(step).weights) for probe in pair.probes)
        measured = errors(found, reference)
        where = _where(measured, tolerance)
        yield Measurement(9, f"after step {step}", precision, max(measured.values()), tolerance, where)


def samples(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Images from fixed latents, as `generate` makes them: after 10 steps in float64, after one in float32."""
    latents = fixed_latents(pair.config.seed, num=16, latent_dim=pair.config.latent_dim)
    exact, generated = [], []
    for probe in pair.probes:
        weights = pair.trajectory(probe, precision).at(10 if precision == "float64" else 1).weights
        trainer = pair.trainer(probe, precision, weights={**pair.initial_weights(precision), **weights})
        generated.append(to_uint8(trainer.generate(latents)).astype(int))
        if precision == "float64":  # `generate` rounds to float32
            column = latents[:, :, None, None].astype(np.float64)
            exact.append(probe.activations(trainer, "generator", column, train=False)[-1])
    if precision == "float64":
        yield Measurement(10, "images after 10 steps", precision, relative_l2(exact[1], exact[0]), 1e-10)
    levels = np.abs(generated[1] - generated[0]).max()
    yield Measurement(10, "grey levels", precision, float(levels), 1)


def trajectory(pair: Pair, precision: str) -> Iterator[Measurement]:
    """All weights together and the losses, over many steps in float64.

    Left alone, both are followed as far as float64 can predict: until PyTorch parts from itself, one last bit moved.
    Beyond, JAX takes over PyTorch's state every few steps, and both must take the same steps from there.
    """
    if precision != "float64":
        return  # rung 12 takes its place
    yield from _left_alone(pair)
    yield from _handed_over(pair)


def _left_alone(pair: Pair) -> Iterator[Measurement]:
    draw = stream(pair.config.seed, "parity/nudge", 0)
    nudged = Trajectory(pair, pair.torch, "float64", _nudged(pair.initial_weights("float64"), draw))
    reference, measured = (pair.trajectory(probe, "float64") for probe in pair.probes)
    for step, tolerance in TRAJECTORY_TOLERANCES.items():
        if step > pair.num_steps:
            return
        noise = distance_of(nudged.at(step).weights, reference.at(step).weights)
        if noise > PREDICTABLE * tolerance and step > HANDED_OVER_FROM:
            return
        name = f"{step} steps, left alone (torch nudged: {noise:.0e})"
        yield from _compared(name, measured.at(step), reference.at(step), tolerance)


def _handed_over(pair: Pair) -> Iterator[Measurement]:
    start = pair.trajectory(pair.torch, "float64").at(HANDED_OVER_FROM).weights
    reference = Trajectory(pair, pair.torch, "float64", start, first_step=HANDED_OVER_FROM)
    first_step = HANDED_OVER_FROM
    for last_step, tolerance in TRAJECTORY_TOLERANCES.items():
        if not first_step < last_step <= pair.num_steps:
            continue
        worst: list[Measurement] = []
        for step in range(first_step, last_step, HANDED_OVER_EVERY):
            follower = Trajectory(pair, pair.jax, "float64", reference.state, first_step=step)
            end = step + HANDED_OVER_EVERY
            name = f"steps {first_step + 1}-{last_step}, handed over every {HANDED_OVER_EVERY}"
            found = list(_compared(name, follower.at(end), reference.at(end), tolerance))
            worst = [max(pair, key=_measured_value) for pair in zip(worst or found, found, strict=True)]
        yield from worst
        first_step = last_step


def _measured_value(measurement: Measurement) -> float:
    return measurement.measured


def _compared(name: str, found: Snapshot, expected: Snapshot, tolerance: float) -> Iterator[Measurement]:
    distance = distance_of(found.weights, expected.weights)
    yield Measurement(11, f"{name}: parameters", "float64", distance, tolerance)
    loss_error = relative_l2(found.losses[:, -HANDED_OVER_EVERY:], expected.losses[:, -HANDED_OVER_EVERY:])
    yield Measurement(11, f"{name}: losses", "float64", loss_error, tolerance)


def noise_floor(pair: Pair, precision: str) -> Iterator[Measurement]:
    """The float32 gap between the frameworks, in units of the largest gap of either to a disturbed self."""
    if precision != "float32":
        return
    wanted = [step for step in NOISE_STEPS if step <= pair.num_steps]
    reference, measured = (pair.trajectory(probe, precision) for probe in pair.probes)
    envelope = dict.fromkeys(wanted, 0.0)
    for probe, undisturbed in zip(pair.probes, (reference, measured), strict=True):
        for last_step, disturbed in _disturbed(pair, probe):
            for step in wanted:
                if step <= last_step:
                    distance = distance_of(disturbed.at(step).weights, undisturbed.at(step).weights)
                    envelope[step] = max(envelope[step], distance)
    for step in wanted:
        gap = distance_of(measured.at(step).weights, reference.at(step).weights)
        name = f"step {step}: gap {gap:.1e}, envelope {envelope[step]:.1e}"
        yield Measurement(12, name, precision, gap / envelope[step], NOISE_FACTOR)


def distance_of(measured: Weights, reference: Weights) -> float:
    """Relative L2 distance of all parameters of both networks as one vector."""
    names = [name for name in reference if ".adam." not in name and ".running_" not in name]
    joined = [
        np.concatenate([weights[name].ravel().astype(np.float64) for name in names])
        for weights in (measured, reference)
    ]
    return relative_l2(*joined)


def _disturbed(pair: Pair, probe: Probe) -> Iterator[tuple[int, Trajectory]]:
    """Five last-bit nudges of the start, float64, and torch's other memory format; and how far each is followed."""
    start = pair.initial_weights("float32")
    for index in range(NUM_NUDGES):
        draw = stream(pair.config.seed, "parity/nudge", index)
        yield NOISE_STEPS[-1], Trajectory(pair, probe, "float32", _nudged(start, draw))
    yield HANDED_OVER_FROM, pair.trajectory(probe, "float64")
    if probe is pair.torch:
        yield NOISE_STEPS[-1], Trajectory(pair, probe, "float32", start, variant=pair.other_variant)


def _nudged(weights: Weights, draw: np.random.Generator) -> Weights:
    """Every kernel and scale moved up or down by its last bit."""
    nudged = dict(weights)
    for name, array in weights.items():
        if name.endswith(".weight"):
            nudged[name] = np.nextafter(
                array, np.where(draw.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
            )
    return nudged


def _in_execution_order(snapshot: Snapshot, step: int) -> Weights:
    """What a step computes, in the order it does: D's loss, gradients (as moments) and update, then G's.

    Gradients are found from the last layer to the first. Running statistics have a rung of their own.
    """
    ordered: Weights = {}
    for row, network in enumerate(("discriminator", "generator")):
        ordered[f"{network}_loss"] = snapshot.losses[row, step - 1]
        own = {name: array for name, array in snapshot.weights.items() if name.startswith(f"{network}.")}
        ordered |= {name: own[name] for name in reversed(own) if ".adam." in name}
        ordered |= {name: array for name, array in own.items() if ".adam." not in name and ".running_" not in name}
    return ordered


def _where(measured: dict[str, float], tolerance: float) -> str:
    """The first tensor that parts from what precedes it, or the largest error."""
    first = first_divergence(accumulation(measured), tolerance=tolerance)
    return str(first) if first else max(measured, key=measured.__getitem__)


def _running(weights: Weights) -> Weights:
    return {name: array for name, array in weights.items() if ".running_" in name}
