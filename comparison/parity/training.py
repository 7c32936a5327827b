"""Rungs 8 to 12: whole steps, running statistics, samples and trajectories of the trainers that training uses."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from common.contract import Weights
from common.images import to_uint8
from common.randomness import fixed_latents, stream
from comparison.parity.measure import errors, relative_l2
from comparison.parity.pair import Measurement, Pair, Snapshot
from comparison.parity.probe import Probe

STEP_TOLERANCES = {("float64", 1): 1e-12, ("float64", 2): 1e-12, ("float32", 1): 1e-4, ("float32", 2): 1e-3}
TRAJECTORY_TOLERANCES = {100: 1e-11, 300: 1e-8}
NOISE_STEPS = (1, 2, 5, 10, 20, 50, 100)
NUM_NUDGES = 5
NOISE_FACTOR = 2.0


def steps(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Parameters, Adam moments and losses after one step and after a second."""
    snapshots = [dict(_run(pair, probe, precision, [1, 2])) for probe in pair.probes]
    for step in (1, 2):
        torch_side, jax_side = (snapshot[step] for snapshot in snapshots)
        compared = {
            name: e for name, e in errors(jax_side.weights, torch_side.weights).items() if "running_" not in name
        }
        compared["losses"] = relative_l2(jax_side.losses[:, step - 1], torch_side.losses[:, step - 1])
        where = max(compared, key=compared.__getitem__)
        yield Measurement(8, f"step {step}", precision, compared[where], STEP_TOLERANCES[precision, step], where)


def running_statistics(pair: Pair, precision: str) -> Iterator[Measurement]:
    """BatchNorm's running mean and variance."""
    wanted = [1, 10, 50] if precision == "float64" else [1]
    snapshots = [dict(_run(pair, probe, precision, wanted)) for probe in pair.probes]
    tolerance = 1e-12 if precision == "float64" else 1e-5
    for step in wanted:
        torch_side, jax_side = (_running(snapshot[step].weights) for snapshot in snapshots)
        compared = errors(jax_side, torch_side)
        where = max(compared, key=compared.__getitem__)
        yield Measurement(9, f"after step {step}", precision, compared[where], tolerance, where)


def samples(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Images from fixed latents in eval mode: float64 after 10 steps, grey levels after one."""
    latents = fixed_latents(pair.config.seed, num=16, latent_dim=pair.config.latent_dim)
    num_steps = 10 if precision == "float64" else 1
    images = []
    for probe in pair.probes:
        trainer = _trainer(pair, probe, precision)
        list(pair.train(trainer, [num_steps]))
        if precision == "float64":
            column = latents[:, :, None, None].astype(np.float64)
            images.append(probe.activations(trainer, "generator", column, train=False)[-1])
        images.append(trainer.generate(latents))
    if precision == "float64":
        yield Measurement(10, "float64 images, 10 steps", precision, relative_l2(images[2], images[0]), 1e-10)
        return
    levels = np.abs(to_uint8(images[0]).astype(int) - to_uint8(images[1])).max()
    yield Measurement(10, "grey levels, 1 step", precision, float(levels), 1)


def trajectory(pair: Pair, precision: str) -> Iterator[Measurement]:
    """All weights together and the losses, over many steps in float64."""
    if precision != "float64":
        return  # rung 12 takes its place
    wanted = [step for step in TRAJECTORY_TOLERANCES if step <= pair.num_steps]
    runs = [dict(_run(pair, probe, precision, wanted)) for probe in pair.probes]
    for step in wanted:
        torch_side, jax_side = (run[step] for run in runs)
        distance = distance_of(jax_side.weights, torch_side.weights)
        loss_error = relative_l2(jax_side.losses, torch_side.losses)
        tolerance = TRAJECTORY_TOLERANCES[step]
        yield Measurement(11, f"parameters after {step} steps", precision, distance, tolerance)
        yield Measurement(11, f"losses over {step} steps", precision, loss_error, tolerance)


def noise_floor(pair: Pair, precision: str) -> Iterator[Measurement]:
    """The float32 gap between the frameworks, in units of the largest gap of either to a disturbed self."""
    if precision != "float32":
        return
    wanted = [step for step in NOISE_STEPS if step <= pair.num_steps]
    runs = [dict(_run(pair, probe, "float32", wanted)) for probe in pair.probes]
    envelope = dict.fromkeys(wanted, 0.0)
    for probe, run in zip(pair.probes, runs, strict=True):
        for disturbed in _disturbed_runs(pair, probe, wanted):
            for step, snapshot in disturbed.items():
                envelope[step] = max(envelope[step], distance_of(snapshot.weights, run[step].weights))
    for step in wanted:
        gap = distance_of(runs[1][step].weights, runs[0][step].weights)
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


def _disturbed_runs(pair: Pair, probe: Probe, wanted: list[int]) -> Iterator[dict[int, Snapshot]]:
    trainer = _trainer(pair, probe, "float32")
    for index in range(NUM_NUDGES):
        trainer.load_weights(_nudged(pair.initial_weights("float32"), stream(pair.config.seed, "parity/nudge", index)))
        yield dict(pair.train(trainer, wanted))
    other = "idiomatic" if pair.config.variant == "tuned" else "tuned"
    yield dict(_run(replace(pair, config=replace(pair.config, variant=other)), probe, "float32", wanted))
    yield dict(_run(pair, probe, "float64", wanted))


def _nudged(weights: Weights, draw: np.random.Generator) -> Weights:
    """Every kernel and scale moved up or down by its last bit."""
    nudged = dict(weights)
    for name, array in weights.items():
        if name.endswith(".weight"):
            nudged[name] = np.nextafter(
                array, np.where(draw.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
            )
    return nudged


def _trainer(pair: Pair, probe: Probe, precision: str) -> Any:
    trainer = probe.create_trainer(pair.at(precision), pair.architecture)
    trainer.load_weights(pair.initial_weights(precision))
    return trainer


def _run(pair: Pair, probe: Probe, precision: str, wanted: list[int]) -> Iterator[tuple[int, Snapshot]]:
    yield from pair.train(_trainer(pair, probe, precision), wanted)


def _running(weights: Weights) -> Weights:
    return {name: array for name, array in weights.items() if ".running_" in name}
