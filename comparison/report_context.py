"""Everything the two report templates show, except the figures."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.animation import ANIMATION_FILE
from common.loss_curves import smoothing_window
from comparison import sentences, tables
from comparison.figures import COLOURS
from comparison.quality_context import quality_context
from comparison.recorded_run import FRAMEWORK_NAMES
from comparison.summary import Runs

FILES = {  # pattern in the comparison folder: what it holds
    "comparison.json": "every number of this report",
    "parity.json": "the parity certificate",
    "bench.json": "the benchmark",
    "speed.md": "the benchmark with every table",
    "report.html": "this report in one file",
    "report.md": "this report for a repository page",
    "figures": "the figures as PNG",
    ANIMATION_FILE: "the sample grids of every epoch as an animation, side by side",
    "*/config.json": "the configuration of a run",
    "*/environment.json": "versions, device, threads, flags, command",
    "*/losses.csv": "losses and scores, one row a step",
    "*/epochs.csv": "mean losses and scores, one row an epoch",
    "*/timing.json": "every timed chunk and phase",
    "*/samples": "grids from fixed latents, one an epoch",
    "*/progress.npz": "the same grids as arrays",
    f"*/{ANIMATION_FILE}": "the same as an animation",
    "*/samples.npz": "the generated digits that were scored",
    "*/samples_100.png": "the first hundred of them",
    "*/real_and_generated.png": "64 of them beside as many training images",
    "*/losses.png": "both losses of a run over its steps",
    "*/checkpoints": "weights and optimizer state, framework-neutral",
    "*/metrics.json": "quality metrics with protocol, spread and floor",
    "*/error.txt": "the traceback of a run that failed",
    "*/status.json": "how the run ended",
}
WRITTEN_WITH_THE_REPORT = ("comparison.json", "report.html", "report.md", "figures")


def present_frameworks(results: Mapping[str, Any]) -> dict[str, Any]:
    """The frameworks of comparison.json that have a run."""
    return {name: framework for name, framework in results["frameworks"].items() if framework is not None}


def report_context(comparison_dir: Path, results: Mapping[str, Any], runs: Runs) -> dict[str, Any]:
    """What both templates are rendered from, except the figures."""
    frameworks, agreement = present_frameworks(results), results["loss_agreement"]
    return {
        "results": results,
        "notices": sentences.notices(runs, comparison_dir),
        "names": FRAMEWORK_NAMES,
        "colours": COLOURS,
        "columns": tables.framework_columns(frameworks),
        "title": sentences.title(results),
        "subtitle": sentences.subtitle(results, runs),
        "conditions": sentences.conditions(results),
        "ratio": sentences.ratio(results),
        "parting": sentences.parting(agreement) if agreement else "",
        "first_steps": sentences.first_steps(agreement) if agreement else "",
        "explanation": sentences.why_runs_part(results["config"]),
        "sampling": sentences.sampling(results["config"]),
        "speed_rows": tables.speed_rows(frameworks),
        **quality_context(frameworks),
        "last_epoch_rows": tables.last_epoch_rows(frameworks),
        "difference_rows": tables.difference_rows(agreement) if agreement else [],
        "parity": sentences.parity(results),
        "parity_rows": tables.parity_rows(results["parity"]["rungs"]),
        "phase_rows": tables.phase_rows(frameworks),
        "environment_rows": tables.environment_rows(results["environment"]),
        "window": smoothing_window(max(run.num_steps for run in runs.values())),
        "commands": {run.name: shlex.join(run.environment["command"]) for run in runs.values()},
        "files": {
            name.replace("*", f"{{{','.join(runs)}}}"): text
            for name, text in FILES.items()
            if name in WRITTEN_WITH_THE_REPORT or any(comparison_dir.glob(name))
        },
    }
