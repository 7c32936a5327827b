"""Rungs 8 to 12: whole steps, running statistics, samples and trajectories of the trainers that training uses."""

from collections.abc import Iterator

import numpy as np

from common.contract import Weights
from common.images import to_uint8
from common.randomness import fixed_latents
from comparison.parity.measure import errors, relative_l2
from comparison.parity.noise import NOISE_FACTOR, against_noise, disturbed_trajectories, nudges
from comparison.parity.pair import Measurement, Pair, Snapshot, Trajectory

STEP_TOLERANCES = {("float64", 1): 1e-12, ("float64", 2): 1e-12, ("float32", 1): 1e-4, ("float32", 2): 1e-3}
STATISTICS_TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
TRAJECTORY_TOLERANCES = {50: 1e-11, 100: 1e-11, 300: 1e-8}
HANDED_OVER_FROM, HANDED_OVER_EVERY = 50, 10
# Left alone, a trajectory is compared up to where a last bit moved costs less than this share of the tolerance.
PREDICTABLE = 1e-3
NOISE_STEPS = (1, 2, 5, 10, 20, 50, 100)


def steps(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Parameters, Adam moments and losses after one step and after a second, of all four arms."""
    reference = pair.trajectory(pair.torch, precision)
    arms = {f"jax {pair.config.variant}": pair.trajectory(pair.jax, precision)}
    if precision == "float64":
        for probe in pair.probes:
            other = pair.other_variant
            arms[f"{probe.name} {other}"] = pair.trajectory(probe, precision, variant=other)
    for arm, trajectory in arms.items():
        for step in (1, 2):
            expected = _in_execution_order(reference.at(step), step)
            yield against_noise(
                8,
                f"step {step}, {arm} against torch {pair.config.variant}",
                precision,
                measured=errors(_in_execution_order(trajectory.at(step), step), expected),
                tolerance=STEP_TOLERANCES[precision, step],
                reference=expected,
                disturbed=lambda step=step: (
                    _in_execution_order(run.at(step), step)
                    for run in disturbed_trajectories(pair, pair.torch, precision)
                ),
            )


def running_statistics(pair: Pair, precision: str) -> Iterator[Measurement]:
    """BatchNorm's running mean and variance."""
    for step in (1, 10, 50) if precision == "float64" else (1,):
        reference, found = (_running(pair.trajectory(probe, precision).at(step).weights) for probe in pair.probes)
        yield against_noise(
            9,
            f"after step {step}",
            precision,
            measured=errors(found, reference),
            tolerance=STATISTICS_TOLERANCES[precision],
            reference=reference,
            disturbed=lambda step=step: (
                _running(run.at(step).weights) for run in disturbed_trajectories(pair, pair.torch, precision)
            ),
        )


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
    disturbed = pair.trajectory(pair.torch, "float64", nudge=nudges(pair)[0])
    reference, measured = (pair.trajectory(probe, "float64") for probe in pair.probes)
    for step, tolerance in TRAJECTORY_TOLERANCES.items():
        if step > pair.num_steps:
            return
        noise = distance_of(disturbed.at(step).weights, reference.at(step).weights)
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
        exact = pair.trajectory(probe, "float64")
        for disturbed in disturbed_trajectories(pair, probe, precision):
            for step in wanted:
                # JAX runs float64 without XLA's fast convolutions: it is followed no further than rung 11 did.
                if disturbed is not exact or step <= HANDED_OVER_FROM:
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


def _running(weights: Weights) -> Weights:
    return {name: array for name, array in weights.items() if ".running_" in name}
