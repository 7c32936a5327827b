"""Whether a record speaks for a whole run under one set of conditions, which no certificate can make up for.

Records are not signed: this finds honest mistakes, such as a source that was mended halfway, and stops no forger.
"""

from typing import Any

import numpy as np

from common.contract import StepMetrics
from common.records.recorded_run import RecordedRun
from common.safe_read import one_line
from comparison.parity.identity import IDENTITY, facts_of, which

UNKNOWN_TO_SOME_SYSTEMS = ("cpu_model",)


def why_not_whole(run: RecordedRun) -> str | None:
    """The first reason why the run was not trained throughout as its record says; None if it was."""
    return _missing_fact(run) or _other_past(run) or _other_steps(run)


def _processes(run: RecordedRun) -> list[dict[str, Any]]:
    """The processes that trained the run, in order; the last one is what environment.json is of."""
    return [*run.environment.get("past", ()), run.environment]


def _missing_fact(run: RecordedRun) -> str | None:
    for process in _processes(run):
        for name, fact in facts_of(process, run.framework).items():
            if fact is None and name not in UNKNOWN_TO_SOME_SYSTEMS:
                name = name.replace("sha256", "hash").replace("_", " ")
                return f"the record of {run.name} lacks its {name}, as an older version wrote it: train it again"
    return None


def _other_past(run: RecordedRun) -> str | None:
    """A run that goes on has the sources and the conditions of its last process on record, and its past beside them."""
    processes = _processes(run)
    begins = [process.get("resumed_at_step", 0) for process in processes]
    for process, begin in zip(processes, begins, strict=True):
        if begin and not process.get("resumed_in_place"):
            origin = one_line(process.get("resumed_from"))
            return f"{run.name} went on at step {begin:,} from another run, {origin}: train it from the start"
    if begins[0]:
        return f"nothing is on record of how {run.name} trained its first {begins[0]:,} steps: train it from the start"
    last = facts_of(processes[-1], run.framework)
    for process, begin, end in zip(processes, begins, begins[1:], strict=False):
        for name, fact in facts_of(process, run.framework).items():
            if fact != last[name]:
                steps = f"its steps {begin + 1:,} to {end:,}"
                return f"{run.name} trained {steps} with {IDENTITY[name]} than the rest{which(fact, last[name])}"
    return None


def _other_steps(run: RecordedRun) -> str | None:
    """Of a finished run losses.csv has every step, in order, with numbers alone; another is reported as unfinished."""
    if run.status.get("status") != "finished":
        return None
    per_epoch = run.environment["dataset"]["num_train"] // run.config["batch_size"]
    num_steps = per_epoch * run.config["epochs"]
    if run.num_steps != num_steps:
        return f"{run.name} finished, but losses.csv has {run.num_steps:,} of its {num_steps:,} steps"
    steps = np.arange(num_steps)
    if (run.losses["step"] != steps + 1).any() or (run.losses["epoch"] != steps // per_epoch + 1).any():
        return f"the losses.csv of {run.name} does not have its steps in order, epoch by epoch"
    for name in StepMetrics._fields:
        if not np.isfinite(run.losses[name]).all():
            step = int(np.isfinite(run.losses[name]).argmin()) + 1
            return f"the {name.replace('_', ' ')} of {run.name} is no number at step {step:,}"
    return None
