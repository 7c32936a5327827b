"""The first steps of training, as the ladder saw them: by these a run shows that it is the one that was proved.

A record names sources, versions and flags. What a module on the path patched, or an edited file of a package, has no
name there, but it has other losses. The discriminator's first loss precedes every update: the generator's does not.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.contract import StepMetrics, Weights
from common.records.recorded_run import Runs
from comparison.parity.pair import Pair
from comparison.parity.rounding_noise import NOISE_FACTOR, disturbed_trajectories

NUM_STEPS = 10
# Where rounding did nothing to the ladder's own runs, sums of another order still end in another last digit.
SMALLEST_TOLERANCE = 1e-5


def first_steps(pair: Pair) -> dict[str, Any] | None:
    """Losses, scores and a digest of all state of both frameworks, and what rounding excuses, step by step.

    That is twice the worst of three, up to each step: what a last bit of the weights, moved, does to either framework,
    what its other memory format does to PyTorch, and the gap between the two. None where no step has a number.
    """
    precision = pair.config.precision
    found = {probe.name: pair.trajectory(probe, precision).at(NUM_STEPS) for probe in pair.probes}
    torch, jax = (snapshot.metrics for snapshot in found.values())
    errors = [_errors(jax, torch)]
    for probe in pair.probes:
        for disturbed in disturbed_trajectories(pair, probe, precision):
            errors.append(_errors(disturbed.at(NUM_STEPS).metrics, found[probe.name].metrics))
    noise = np.maximum.accumulate(np.concatenate(errors).max(axis=0))
    # Later ones are of another epoch, whose order of images the ladder does not follow; a NaN ends a run anyway.
    num_steps = min(NUM_STEPS, len(pair.train_images) // pair.config.batch_size)
    num_steps = min(num_steps, int(np.isfinite(noise).sum()))
    if num_steps == 0:
        return None
    return {
        "tolerances": np.maximum(NOISE_FACTOR * noise[:num_steps], SMALLEST_TOLERANCE).tolist(),
        "metrics": {
            name: dict(zip(StepMetrics._fields, snapshot.metrics[:, :num_steps].tolist(), strict=True))
            for name, snapshot in found.items()
        },
        "weights_sha256": {name: _digest(snapshot.weights) for name, snapshot in found.items()},
    }


def why_other_steps(first_steps: Mapping[str, Any], runs: Runs) -> str | None:
    """The first loss or score by which a run is not the one that was proved, or by which the two part; None if none."""
    for name, run in runs.items():
        if reason := why_other_training(first_steps, name, run.name, run.losses):
            return reason
    if len(runs) < 2:
        return None
    first, second = (_rows(run.losses) for run in runs.values())
    where = _first_beyond(first, second, np.array(first_steps["tolerances"]))
    return f"the two runs part too early: {where}" if where else None


def why_other_training(
    first_steps: Mapping[str, Any], name: str, title: str, recorded: Mapping[str, Any]
) -> str | None:
    """The first recorded loss or score, under a title, that is not what the ladder saw under the name; else None."""
    proved = _rows(first_steps["metrics"].get(name, {}))
    where = _first_beyond(_rows(recorded), proved, np.array(first_steps["tolerances"]))
    return f"{title} did not train as the ladder did: {where}" if where else None


def _first_beyond(measured: np.ndarray, reference: np.ndarray, tolerances: np.ndarray) -> str | None:
    """`the generator loss of step 1 is 1.4e-01 off, and rounding explains 1.0e-05`; None where nothing is."""
    num_steps = min(len(tolerances), measured.shape[1])
    if reference.shape[1] < num_steps:
        return "the certificate has none of its losses"
    errors = _errors(measured[:, :num_steps], reference[:, :num_steps])
    beyond = ~(errors <= tolerances[:num_steps])
    if not beyond.any():
        return None
    step = int(beyond.any(axis=0).argmax())
    column = int(np.nan_to_num(errors[:, step], nan=np.inf).argmax())
    name = StepMetrics._fields[column].replace("_", " ")
    off, explained = errors[column, step], tolerances[step]
    return f"the {name} of step {step + 1} is {off:.1e} off, and rounding explains {explained:.1e}"


def _rows(columns: Mapping[str, Any]) -> np.ndarray:
    """The columns of losses.csv that a step measures, as rows (4, step), as far as all of them go."""
    rows = [columns.get(name, ()) for name in StepMetrics._fields]
    return np.array([row[: min(map(len, rows))] for row in rows], np.float64)


def _errors(measured: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Relative beyond 1, absolute below: of a score near 0 no digit counts."""
    measured, reference = measured.astype(np.float64), reference.astype(np.float64)
    return np.abs(measured - reference) / np.maximum(1, np.abs(reference))


def _digest(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
