"""The numbers of a comparison, and whether there is a speed ratio: from two recorded runs to comparison.json."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.config import differing_fields
from common.records.environment import shared_variables
from common.records.recorded_run import FRAMEWORK_NAMES, RecordedRun, Runs
from common.records.schema import Timings
from comparison.bench import statistics
from comparison.report.quietness import DISTURBED, quietness

LOSS_COLUMNS = ("discriminator_loss", "generator_loss")
REPORTED_STEPS = (1, 2, 5, 10, 100)
FEWEST_ROUNDS = 2  # of which an interval can be said
PARTED_AT = 0.01  # relative difference from which the two runs count as parted
HARDWARE = ("num_threads", "num_cpus", "memory_bytes", "cpu_model", "cpu_flags")
SAME_HARDWARE_FIELDS = ("python", "platform", "device", *HARDWARE)


def relative_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """|a - b| / max(|a|, |b|), in [0, 2], over the steps both have; 0 where both are 0, NaN where one is."""
    num_steps = min(len(first), len(second))
    first, second = first[:num_steps], second[:num_steps]
    scale = np.maximum(np.abs(first), np.abs(second))
    return np.abs(first - second) / np.where(scale == 0, 1.0, scale)


def first_step_above(difference: np.ndarray, threshold: float) -> int | None:
    """The first step, counted from 1, whose difference exceeds the threshold; NaN exceeds every threshold."""
    above = np.flatnonzero(~(difference <= threshold))
    return int(above[0]) + 1 if len(above) else None


def loss_agreement(torch_losses: Mapping[str, np.ndarray], jax_losses: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How far apart the two runs' losses are, step by step from equal weights; one entry a loss."""
    differences = {name: relative_difference(torch_losses[name], jax_losses[name]) for name in LOSS_COLUMNS}
    return {
        name: {
            "num_steps": len(difference),
            "first_step": _finite(difference[0]),
            "largest_of_first_10_steps": _finite(difference[:10].max()),
            "first_step_above_1_percent": first_step_above(difference, PARTED_AT),
            "at_step": {str(s): _finite(difference[s - 1]) for s in REPORTED_STEPS if s <= len(difference)},
        }
        for name, difference in differences.items()
    }


def last_epoch_means(run: RecordedRun) -> dict[str, float | None]:
    """Mean of every column of losses.csv over the last epoch on record."""
    in_last_epoch = run.losses["epoch"] == run.losses["epoch"][-1]
    columns = (*LOSS_COLUMNS, "real_score", "fake_score")
    return {column: _finite(run.losses[column][in_last_epoch].mean()) for column in columns}


def speed_ratio(runs: Runs) -> dict[str, Any]:
    """PyTorch's speed over JAX's: of the rounds in which both trained an epoch, or of two medians where there are none.

    That of medians has no interval: low and high pair the slowest chunk of one with the other's fastest.
    """
    if (num_rounds := len(paired_speeds(runs))) >= FEWEST_ROUNDS:
        ratio = statistics.ratio(*zip(*paired_speeds(runs), strict=True))
        return {**ratio._asdict(), "num_rounds": num_rounds}
    torch_speed, jax_speed = (run.timing["steady_images_per_second"] for run in runs.values())
    return {
        "median": torch_speed["median"] / jax_speed["median"],
        "low": torch_speed["low"] / jax_speed["high"],
        "high": torch_speed["high"] / jax_speed["low"],
        "num_rounds": 0,
    }


def paired_speeds(runs: Runs) -> list[tuple[float, ...]]:
    """PyTorch's and JAX's images/s of each round in which both trained an epoch; an epoch made up for has no pair."""
    by_round = [run.round_speeds for run in runs.values()]
    if len(by_round) < len(FRAMEWORK_NAMES):
        return []
    return [tuple(speeds[began_at] for speeds in by_round) for began_at in by_round[0] if began_at in by_round[1]]


def why_no_ratio(runs: Runs, parity: Mapping[str, Any], *, mark: str) -> str | None:
    """The reason not to print a speed ratio, or None if one may be printed."""
    if parity["holds"] is not True:
        return parity["reason"]
    if any(not run.steady_chunks or run.status.get("status") != "finished" for run in runs.values()) or len(runs) < 2:
        return "not both runs finished"
    hardware = hardware_differences(runs)
    if hardware:
        return f"the two runs differ in {', '.join(hardware)}"
    return "the speeds are disturbed" if mark == DISTURBED else None


def hardware_differences(runs: Runs) -> list[str]:
    """Fields of the environment that must be equal for the speeds to be comparable, and are not."""
    environments = [
        {field: run.environment.get(field) for field in SAME_HARDWARE_FIELDS}
        | {"environment_variables": shared_variables(run.environment.get("environment_variables", {}))}
        for run in runs.values()
    ]
    return differing_fields(*environments) if len(environments) == 2 else []


def summarise(runs: Runs, parity: Mapping[str, Any]) -> dict[str, Any]:
    """The content of comparison.json; a framework without a run is null."""
    both_trained = len(runs) == 2 and all(run.num_steps for run in runs.values())
    quiet = quietness(runs, is_certified=parity["holds"] is True)
    reason = why_no_ratio(runs, parity, mark=quiet["mark"])
    return {
        "config": next(iter(runs.values())).config,
        "environment": {name: run.environment for name, run in runs.items()},
        "parity": dict(parity),
        "frameworks": {name: _framework(runs[name]) if name in runs else None for name in FRAMEWORK_NAMES},
        "loss_agreement": loss_agreement(*(run.losses for run in runs.values())) if both_trained else None,
        "paired_images_per_second": [list(pair) for pair in paired_speeds(runs)],
        "images_per_second_ratio": None if reason else {"torch/jax": speed_ratio(runs)},
        "why_no_ratio": reason,
        "quietness": quiet,
    }


def _framework(run: RecordedRun) -> dict[str, Any]:
    return {
        **{name: run.timing.get(name) for name in Timings.model_fields},
        "status": run.status,
        "num_steps": run.num_steps,
        "num_steady_chunks": len(run.steady_chunks),
        "last_epoch_means": last_epoch_means(run) if run.num_steps else None,
        "quality": run.evaluation.get("metrics"),
        "quality_protocol": run.evaluation.get("protocol"),
        "class_histogram": run.evaluation.get("class_histogram"),
        "nearest_neighbours": run.evaluation.get("nearest_neighbours"),
        "discriminator_features": run.evaluation.get("discriminator_features"),
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
