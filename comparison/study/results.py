"""What the runs of a study add up to: report.json, a number and a verdict for each preset and metric."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.records.folder import ENVIRONMENT_FILE, FRAMEWORK_NAMES, METRICS_FILE, is_finished, read_json, read_status
from comparison.study.plan import WANTED_POWER, Plan, StudyRun
from comparison.study.statistics import holm, pair, pairs_needed, power, sign_flip_p, verdict

REPORT_FILE = "report.json"
UNSCORABLE = {"coverage": 0.0}  # of a run whose images show nothing: no real image has one of them near it
Values = dict[str, dict[str, dict[str, list[float | None]]]]  # preset, metric, framework: by seed


def read_values(folder: Path, plan: Plan, seeds: Sequence[int]) -> Values:
    """The scores of finished runs, None where a run that cannot be scored has none."""
    found: Values = {
        preset: {metric: {name: [] for name in FRAMEWORK_NAMES} for metric in plan.margins} for preset in plan.presets
    }
    for run in plan.runs(seeds):
        scores = read_json(folder / run.folder / METRICS_FILE).get("metrics", {})
        for metric, values in found[run.preset].items():
            score = scores.get(metric, {}).get("value", UNSCORABLE.get(metric) if not scores else None)
            values[run.framework].append(score)
    return found


def needs_reserve(values: Values, plan: Plan) -> bool:
    """Whether the differences spread too much for these pairs; where their mean lies is not looked at."""
    for metrics in values.values():
        scores = metrics[plan.primary]
        if (arrays := _arrays(scores)) is None:
            continue
        found = pair(*arrays, margin=plan.margins[plan.primary])
        if power(len(arrays[0]), sd=float(found.sd), margin=float(found.margin)) < WANTED_POWER:
            return True
    return False


def summarise(folder: Path, plan: Plan, seeds: Sequence[int]) -> dict[str, Any]:
    """The content of report.json; no preset is compared before every run of these seeds is finished."""
    runs = list(plan.runs(seeds))
    unfinished = [run for run in runs if not is_finished(folder / run.folder)]
    return {
        "plan": plan.content,
        "plan_hash": plan.sha256,
        "plan_written_at": plan.written_at,
        "num_runs": len(runs),
        "unfinished": {run.name: _why(folder, run) for run in unfinished},
        "sources": _recorded(folder, runs, "source_hash"),
        "devices": _recorded(folder, runs, "device"),
        "seeds": list(seeds),
        "presets": {} if unfinished else compare(read_values(folder, plan, seeds), plan),
    }


def compare(values: Values, plan: Plan) -> dict[str, dict[str, dict[str, Any]]]:
    """Preset, then `metrics`, then metric: its difference, intervals, margin and verdict."""
    found: dict[str, dict[str, dict[str, Any]]] = {preset: {"metrics": {}} for preset in values}
    for metric, margin in plan.margins.items():
        results = {preset: _compare_one(metrics[metric], margin) for preset, metrics in values.items()}
        for name in ("p_equivalent", "p_different"):
            for result, adjusted in zip(results.values(), holm([r[name] for r in results.values()]), strict=True):
                result[name] = adjusted
        for preset, result in results.items():
            result["verdict"] = verdict(result["p_equivalent"], result["p_different"])
            found[preset]["metrics"][metric] = result
    return found


def _compare_one(scores: Mapping[str, list[float | None]], margin: float | None) -> dict[str, Any]:
    """One metric of one preset; without all its values it has no numbers, and is undecided."""
    first = next(iter(scores.values()))
    kept: dict[str, Any] = {"num_pairs": len(first), "values": dict(scores), "p_equivalent": 1.0, "p_different": 1.0}
    if (arrays := _arrays(scores)) is None:
        return kept
    found = pair(*arrays, margin=margin)
    numbers = {name: float(value) for name, value in found._asdict().items()}
    correlation = numbers.pop("correlation")
    sd, allowed = numbers["sd"], numbers["margin"]
    return kept | {
        **numbers,
        "correlation": None if np.isnan(correlation) else correlation,
        "half_width90": float(found.half_width90),
        "p_sign_flip": sign_flip_p(arrays[0] - arrays[1]),
        "power": power(len(first), sd=sd, margin=allowed),
        "num_pairs_needed": pairs_needed(sd=sd, margin=allowed, wanted=WANTED_POWER),
    }


def _arrays(scores: Mapping[str, list[float | None]]) -> tuple[np.ndarray, np.ndarray] | None:
    first, second = (scores[name] for name in FRAMEWORK_NAMES)
    if None in first or None in second:
        return None
    return np.array(first, np.float64), np.array(second, np.float64)


def _why(folder: Path, run: StudyRun) -> str:
    status = read_status(folder / run.folder)
    return f"{status['status']} at step {status['step']}" + (f": {status['message']}" if status["message"] else "")


def _recorded(folder: Path, runs: Sequence[StudyRun], field: str) -> dict[str, list[str]]:
    """What the environments of all processes say that trained a part of these runs, each once."""
    found: dict[str, list[str]] = {name: [] for name in FRAMEWORK_NAMES}
    for run in runs:
        recorded = read_json(folder / run.folder / ENVIRONMENT_FILE)
        for process in (*recorded.get("past", ()), *([recorded] if recorded else ())):
            if (value := process.get(field)) and value not in found[run.framework]:
                found[run.framework].append(value)
    return found
