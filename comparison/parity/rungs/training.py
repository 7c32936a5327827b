"""Rungs 8 to 10: whole steps, running statistics and samples of the trainers that training uses."""

import math
from collections.abc import Iterator

import numpy as np

from common.contract import Weights
from common.data.randomness import fixed_latents
from common.networks.build import batch_norms
from comparison.parity.divergence import errors, max_relative, relative_l2
from comparison.parity.pair import Measurement, Pair, Snapshot, Trajectory
from comparison.parity.probes.probe import Probe
from comparison.parity.rounding_noise import against_noise, disturbed_trajectories, reordered_trajectories
from comparison.parity.rungs.averages import averages
from comparison.parity.rungs.inputs import differing_tensors
from comparison.parity.rungs.states import errors_of_state, metrics_of_step

STEP_TOLERANCES = {("float64", 1): 1e-12, ("float64", 2): 1e-12, ("float32", 1): 1e-4, ("float32", 2): 1e-3}
# What rounding may excuse in float64: a BatchNorm's bias starts at 0 and is, after a step, its gradient over that
# gradient's size plus epsilon. Where a channel's gradient all but cancels, PyTorch is 2e-12 from itself.
STEP_EXCUSED_TO = {"float64": 1e-11, "float32": math.inf}
STATISTICS_TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
# By step 10 training has begun to amplify a last bit in them; rung 11 compares them further, from state handed over.
STATISTICS_EXCUSED_TO = {"float64": 1e-11, "float32": math.inf}
NUM_GENERATED, NUM_IN_LAST_BATCH = 520, 20  # more than one batch of `generate`, and no multiple of it
# Its images are float32 in either precision: of those made in float64, one last bit may be rounded otherwise.
GENERATE_TOLERANCES = {"float64": float(np.finfo(np.float32).eps), "float32": 1e-5}


def steps(pair: Pair, precision: str) -> Iterator[Measurement]:
    """What one step and a second measure, and the parameters and moments they leave, of all four arms in float64."""
    reference = pair.trajectory(pair.torch, precision)
    arms = {f"jax {pair.config.variant}": pair.trajectory(pair.jax, precision)}
    if precision == "float64":
        for probe in pair.probes:
            other = pair.other_variant
            arms[f"{probe.name} {other}"] = pair.trajectory(probe, precision, variant=other)
    for arm, trajectory in arms.items():
        for step in (1, 2):
            expected, found = reference.at(step), trajectory.at(step)
            name, tolerance = f"step {step}, {arm}", STEP_TOLERANCES[precision, step]
            measured = errors(metrics_of_step(found, step), metrics_of_step(expected, step))
            yield Measurement.of_worst(8, f"{name}: losses, scores", precision, measured, tolerance)
            tensors = _in_execution_order(expected)
            measured = errors_of_state(_in_execution_order(found), tensors)
            yield against_noise(
                8,
                f"{name}: tensors",
                precision,
                measured=measured,
                tolerance=tolerance,
                reference=tensors,
                disturbed=lambda step=step: (_in_execution_order(run.at(step)) for run in _disturbed(pair, precision)),
                at_most=STEP_EXCUSED_TO[precision],
            )
    if precision == "float32":
        for probe in pair.probes:
            yield from _own_program(pair, probe)
    yield from averages(pair, precision)


def _own_program(pair: Pair, probe: Probe) -> Iterator[Measurement]:
    """The float32 program that a run uses against the float64 one of the same framework, by the same two steps.

    Float64 is the proof, but compiled with other options. What rounding explains is measured on the float32 program
    itself, moved by last bits: what its options do to it is not in that.
    """
    proved, used = (pair.trajectory(probe, precision) for precision in ("float64", "float32"))

    def moved(step: int) -> Iterator[Weights]:
        for trajectories in (disturbed_trajectories, reordered_trajectories):
            yield from (_in_execution_order(run.at(step)) for run in trajectories(pair, probe, "float32"))

    for step in (1, 2):
        expected, found, tolerance = proved.at(step), used.at(step), STEP_TOLERANCES["float32", step]
        name = f"step {step}, {probe.name} against its float64"
        measured = errors(metrics_of_step(found, step), metrics_of_step(expected, step))
        yield Measurement.of_worst(8, f"{name}: losses, scores", "float32", measured, tolerance)
        measured = errors_of_state(_in_execution_order(found), _in_execution_order(expected))
        yield against_noise(
            8,
            f"{name}: tensors",
            "float32",
            measured=measured,
            tolerance=tolerance,
            reference=_in_execution_order(found),
            disturbed=lambda step=step: moved(step),
        )


def running_statistics(pair: Pair, precision: str) -> Iterator[Measurement]:
    """BatchNorm's running mean and variance, if there is any."""
    if not batch_norms(pair.architecture):
        yield Measurement(9, "there is no BatchNorm", precision, 0, 0)
        return
    for step in (1, 10) if precision == "float64" else (1,):
        reference, found = (_running(pair.trajectory(probe, precision).at(step).weights) for probe in pair.probes)
        yield against_noise(
            9,
            f"after step {step}",
            precision,
            measured=errors(found, reference),
            tolerance=STATISTICS_TOLERANCES[precision],
            reference=reference,
            # In float64 only training itself excuses a difference.
            disturbed=None
            if precision == "float64" and step == 1
            else lambda step=step: (_running(run.at(step).weights) for run in _disturbed(pair, precision)),
            at_most=STATISTICS_EXCUSED_TO[precision],
        )
    if precision == "float64":
        yield from _statistics_of_other_arms(pair)


def _statistics_of_other_arms(pair: Pair) -> Iterator[Measurement]:
    reference = _running(pair.trajectory(pair.torch, "float64").at(2).weights)
    for probe in pair.probes:
        other = pair.trajectory(probe, "float64", variant=pair.other_variant).at(2).weights
        measured = errors(_running(other), reference)
        name = f"after step 2, {probe.name} {pair.other_variant}"
        yield Measurement.of_worst(9, name, "float64", measured, STATISTICS_TOLERANCES["float64"])


def samples(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Images as `generate` makes them, before and after a step, without a trace; a float as it is, not a grey level."""
    many = fixed_latents(pair.config.seed, num=NUM_GENERATED, latent_dim=pair.config.latent_dim)
    few = many[:NUM_IN_LAST_BATCH]  # a shape that is compiled for the others too
    for probe in pair.probes:  # before anything else has generated
        changed = _traces_of_generating(pair, probe, precision, few)
        yield Measurement(
            10, f"{probe.name}: a step after `generate`", precision, len(changed), 0, ", ".join(changed[:1])
        )
    if precision == "float64":  # `generate` rounds to float32
        exact = []
        for probe in pair.probes:
            trainer = pair.trainer(probe, precision, weights=pair.trajectory(probe, precision).at(10).weights)
            column = few[:, :, None, None].astype(np.float64)
            exact.append(probe.activations(trainer, "generator", column, train=False)[-1])
        yield Measurement(10, "images after 10 steps", precision, relative_l2(exact[1], exact[0]), 1e-10)
    for probe, other in (pair.probes, pair.probes[::-1]):
        for when, weights, images in _generated_around_a_step(pair, probe, precision, many):
            expected = pair.trainer(other, precision, weights=weights).generate(many)
            name = f"{probe.name}: {NUM_GENERATED} images {when} a step, in float32"
            error = max_relative(images, expected)
            yield Measurement(10, name, precision, error, GENERATE_TOLERANCES[precision])


def _generated_around_a_step(
    pair: Pair, probe: Probe, precision: str, latents: np.ndarray
) -> list[tuple[str, Weights, np.ndarray]]:
    """What one trainer generates twice at one shape, and the weights that it has then: a stale sampler shows."""
    trainer = pair.trainer(probe, precision, weights=pair.trajectory(pair.torch, precision).at(2).weights)
    before = ("before", trainer.export_weights(), trainer.generate(latents))
    trainer.train_chunk(*pair.chunk(2, 1))
    averaged = trainer.export_weights() | trainer.export_average()
    return [before, ("after", averaged, trainer.generate(latents))]


def _traces_of_generating(pair: Pair, probe: Probe, precision: str, latents: np.ndarray) -> list[str]:
    """Tensors that a step leaves different for having generated before it."""
    left = []
    for generates in (False, True):
        trainer = pair.trainer(probe, precision)
        if generates:
            trainer.generate(latents)
        trainer.train_chunk(*pair.chunk(0, 1))
        left.append(trainer.export_weights())
    return differing_tensors(left[1], left[0])


def _disturbed(pair: Pair, precision: str) -> Iterator[Trajectory]:
    """PyTorch's runs that differ from its own by rounding alone."""
    yield from disturbed_trajectories(pair, pair.torch, precision)
    yield from reordered_trajectories(pair, pair.torch, precision)


def _in_execution_order(snapshot: Snapshot) -> Weights:
    """What a step leaves, in the order it computes it: D's gradients (as moments) and update, then G's.

    Gradients are found from the last layer to the first. Running statistics have a rung of their own.
    """
    ordered: Weights = {}
    for network in ("discriminator", "generator"):
        own = {name: array for name, array in snapshot.weights.items() if name.startswith(f"{network}.")}
        ordered |= {name: own[name] for name in reversed(own) if ".adam." in name}
        ordered |= {name: array for name, array in own.items() if ".adam." not in name and ".running_" not in name}
    return ordered


def _running(weights: Weights) -> Weights:
    return {name: array for name, array in weights.items() if ".running_" in name}
