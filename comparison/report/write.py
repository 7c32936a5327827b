"""Writes the report of a comparison folder: comparison.json, report.html, report.md and figures/."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.config import differing_fields
from common.console import printable, say
from common.errors import UserError
from common.evaluation.catalogue import HEADLINE_METRICS
from common.pictures.animation import animate, find_model, shared_epochs
from common.pictures.loss_curves import steps_per_group
from common.records.folder import ANIMATION_FILE, COMPARISON_FILE, write_atomically, write_json
from common.records.recorded_run import FRAMEWORK_NAMES, Runs, read_run
from comparison.parity.certificate import parity_of
from comparison.report import parity, training_text
from comparison.report.bench_words import read_section
from comparison.report.cards import cards, quality_scale, title_of_scale
from comparison.report.charts import CHART_TITLES
from comparison.report.citation import citation
from comparison.report.environment import environment_rows
from comparison.report.figures import draw_figures
from comparison.report.files import by_content, linked_files
from comparison.report.page import page_context
from comparison.report.quality import REAL_COLUMN, not_comparable, quality_context, quality_rows
from comparison.report.quietness import DISTURBED
from comparison.report.summary import summarise
from comparison.report.verdict import verdict
from comparison.text import Row


@dataclass(frozen=True)
class Comparison:
    """What was written: `results` is comparison.json; `notices` must be read before any number."""

    folder: Path
    results: dict[str, Any]
    notices: list[str]


def write_report(
    comparison_dir: Path, real_images: np.ndarray, training_images: np.ndarray | None = None
) -> Comparison:
    """Report on DIR/torch and DIR/jax, on one alone if need be; real_images is uint8 (n >= 64, S, S[, 3]).

    `training_images` are all of them, as scores of other data than digits name them by their place.

    Raises UserError if neither recorded anything, or if the two configurations differ.
    """
    found = {framework: read_run(comparison_dir / framework, framework) for framework in FRAMEWORK_NAMES}
    runs = {framework: run for framework, run in found.items() if run is not None}
    _refuse_incomparable(runs, comparison_dir)
    results = summarise(runs, parity_of(comparison_dir, runs))
    notices = training_text.notices(runs, comparison_dir) + training_text.too_few_steps(runs, real_images)
    comparison = Comparison(comparison_dir, results, notices)
    bench = read_section(comparison_dir, runs)
    drawn = draw_figures(runs, real_images, training_images)
    if bench is not None:
        drawn = drawn.joined(bench["drawn"])
    (comparison_dir / "figures").mkdir(exist_ok=True)
    for name, content in drawn.files.items():
        write_atomically(comparison_dir / "figures" / name, content)
    context = {
        **report_context(results, runs),
        "notices": notices,
        "bench": bench,
        "animation": _write_animation(comparison_dir, runs),
        "figures": {name: f"figures/{name}" for name in drawn.files},
        "conclusions": drawn.conclusions,
    }
    # The list of files comes last: the animation is one of them.
    context["files"] = linked_files(comparison_dir, list(runs))
    page = {**context, "file_groups": by_content(context["files"]), **page_context(runs, drawn.files, drawn.panels)}
    write_atomically(comparison_dir / "report.html", _render("report.html.jinja", page))
    write_atomically(comparison_dir / "report.md", _render("report.md.jinja", context))
    write_json(comparison_dir / COMPARISON_FILE, results)
    return comparison


def print_summary(comparison: Comparison, console: Console) -> None:
    """The headline table, what its speeds are worth, the ratio or why there is none, and where the report is."""
    results = comparison.results
    frameworks = present_frameworks(results)
    table = Table("", *training_text.framework_columns(frameworks), REAL_COLUMN, box=SIMPLE_HEAD, pad_edge=False)
    for row in training_text.speed_rows(frameworks):
        table.add_row(row.label, *row.cells, "")
    for row in quality_rows(frameworks, HEADLINE_METRICS):
        table.add_row(row.label, *row.cells)
    for notice in comparison.notices:
        console.print(Text(printable(notice), style="bold yellow"))
    console.print(table)
    for sentence in not_comparable(frameworks):
        console.print(Text(printable(sentence), style="red"))
    quiet, ratio = results["quietness"], training_text.ratio(results)
    console.print(Text(printable(quiet["sentence"]), style="red" if quiet["mark"] == DISTURBED else ""))
    console.print(Text(printable(ratio), style="red" if results["why_no_ratio"] else "bold"))
    say(console, printable(f"Report: {comparison.folder / 'report.html'}"))


def _write_animation(comparison_dir: Path, runs: Runs) -> str:
    """The sample grids of all epochs side by side; its name beside the report, or nothing if there are none."""
    progress = {run.name: run.progress for run in runs.values() if len(run.progress.epochs)}
    if not progress or not shared_epochs(progress):
        return ""
    write_atomically(comparison_dir / ANIMATION_FILE, animate(progress, model=find_model(comparison_dir)))
    return ANIMATION_FILE


def _refuse_incomparable(runs: Runs, comparison_dir: Path) -> None:
    if not runs:
        raise UserError(f"{comparison_dir} holds no recorded run; `python compare.py` makes some.")
    if fields := differing_fields(*(run.config for run in runs.values())) if len(runs) == 2 else []:
        pairs = (f"{f} ({' / '.join(repr(run.config.get(f)) for run in runs.values())})" for f in fields)
        raise UserError(
            f"The runs in {comparison_dir} cannot be compared: their configurations differ in "
            f"{', '.join(pairs)}. Train both with equal flags."
        )


def _render(template: str, context: Mapping[str, Any]) -> bytes:
    is_html = template.endswith(".html.jinja")
    environment = Environment(
        loader=PackageLoader("comparison.report"),
        autoescape=True,
        finalize=None if is_html else _markdown_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fenced"] = _fenced
    return environment.get_template(template).render(context).encode("utf-8", "backslashreplace")


def _markdown_text(value: object) -> object:
    """Text that can neither break out of its table cell nor become HTML."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return Markup(escape(" ".join(value.splitlines())).replace("|", "\\|"))


def _fenced(code: str) -> Markup:
    """A code block in Markdown that nothing within the code can end: its fence is longer than any in the code."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return Markup(f"{fence}sh\n{code}\n{fence}")


def present_frameworks(results: Mapping[str, Any]) -> dict[str, Any]:
    """The frameworks of comparison.json that have a run."""
    return {name: framework for name, framework in results["frameworks"].items() if framework is not None}


def report_context(results: Mapping[str, Any], runs: Runs) -> dict[str, Any]:
    """What both templates are rendered from, except the figures, the files, the notices and the benchmark."""
    frameworks, agreement = present_frameworks(results), results["loss_agreement"]
    quality, rungs = quality_context(frameworks), results["parity"]["rungs"]
    return {
        "verdict": verdict(results),
        "cards": cards(results),
        "scale": quality_scale(quality["scale_sets"]),
        "scale_title": title_of_scale(),
        "real_column": REAL_COLUMN,
        "chart_titles": CHART_TITLES,
        "band_words": training_text.band_words(steps_per_group(max(run.num_steps for run in runs.values()))),
        "key_by_name": {run.name: name for name, run in runs.items()},
        "citation": citation(results),
        "results": results,
        "names": FRAMEWORK_NAMES,
        "columns": training_text.framework_columns(frameworks),
        "title": training_text.title(results),
        "subtitle": training_text.subtitle(results, runs),
        "conditions": training_text.conditions(results),
        "ratio": training_text.ratio(results),
        "parting": training_text.parting(agreement) if agreement else "",
        "first_steps": training_text.first_steps(agreement) if agreement else "",
        "explanation": training_text.why_runs_part(results["config"]),
        "sampling": training_text.sampling(results["config"]),
        "speed_rows": training_text.speed_rows(frameworks),
        **quality,
        "last_epoch_rows": training_text.last_epoch_rows(frameworks),
        "difference_rows": training_text.difference_rows(agreement) if agreement else [],
        "parity": parity.parity(results),
        "parity_explained": parity.explained(results),
        "parity_rows": parity.parity_rows(rungs),
        "parity_rungs": parity.plain_rungs(rungs),
        "num_checks": sum(rung["num_measurements"] for rung in rungs),
        "phase_rows": training_text.phase_rows(frameworks),
        "environment": environment_rows(results["environment"]),
        "config_rows": [Row(name, "", [str(value)]) for name, value in results["config"].items()],
        "commands": {run.name: shlex.join(run.environment["command"]) for run in runs.values()},
    }
