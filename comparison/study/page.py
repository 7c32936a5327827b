"""A study in words: study.md, study.html and a figure for each preset, from report.json alone."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from common.evaluation.catalogue import METRICS
from common.records.folder import FRAMEWORK_NAMES, write_atomically
from comparison.study.figure import draw
from comparison.text import NOTHING, number, sources

PAGES = ("study.md", "study.html")
MEANING = {
    "difference": "PyTorch minus JAX, the mean over seeds; after it the 90 % interval, and the 95 % interval in "
    "brackets",
    "margin": "how small is small enough, fixed before the first run",
    "equivalent": "the 90 % interval lies within the margin: a difference that matters is ruled out",
    "different": "the 95 % interval does not contain 0, and the difference may be larger than the margin",
    "undecided": "neither is shown: the study is too small for the spread that was seen, or a run has no score",
    "smallest margin": "half the width of the 90 % interval: what a study of this size and spread could have shown",
    "power": "how often such a study shows equivalence if the frameworks are equal; then the pairs that make it 90 %",
    "correlation": "of the two frameworks' scores of the same seed; near 0, pairing helped nothing",
    "sign flips": "the p value of a difference without assuming a normal distribution, as a check",
}


def figure_name(preset: str) -> str:
    """The file of a preset's figure, beside the page."""
    return f"study_{preset}.png"


def write_pages(folder: Path, report: Mapping[str, Any]) -> None:
    """Write the page as Markdown and as one HTML file, and the figures that the former links."""
    figures = {figure_name(preset): draw(found["metrics"]) for preset, found in report["presets"].items()}
    for name, png in figures.items():
        write_atomically(folder / name, png)
    embedded = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in figures.items()}
    for page, places in zip(PAGES, ({name: name for name in figures}, embedded), strict=True):
        write_atomically(folder / page, render(page, report, places).encode())


def render(page: str, report: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The page of this name; `figures` says where each is."""
    environment = Environment(
        loader=PackageLoader("comparison.study"),
        autoescape=page.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{page}.jinja").render(context(report, figures))


def context(report: Mapping[str, Any], figures: Mapping[str, str]) -> dict[str, Any]:
    """What both templates are rendered from."""
    plan = report["plan"]
    return {
        "title": f"Seed study of {', '.join(plan['presets'])}",
        "verdicts": verdicts(report),
        "notices": notices(report),
        "presets": [
            {
                "name": preset,
                "figure": figures[figure_name(preset)],
                "metrics": table(found["metrics"]),
                "seeds": seeds_table(found["metrics"], report["seeds"]),
            }
            for preset, found in report["presets"].items()
        ],
        "meaning": MEANING,
        "plan": plan_rows(report),
    }


def verdicts(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each preset and metric, the primary metric first."""
    if report["unfinished"]:
        done = report["num_runs"] - len(report["unfinished"])
        return [f"{done} of {report['num_runs']} runs are finished: nothing is compared before all are"]
    return [
        sentence(preset, metric, result)
        for preset, found in report["presets"].items()
        for metric, result in found["metrics"].items()
    ]


def sentence(preset: str, metric: str, result: Mapping[str, Any]) -> str:
    """`dcgan32, Coverage: equivalent. PyTorch's mean is 0.0012 higher (90 % interval ...); the margin ...`."""
    start = f"{preset}, {METRICS[metric].title}: {result['verdict']}"
    if "difference" not in result:
        return f"{start}, since a run has no score (n = {result['num_pairs']} pairs)"
    difference, margin = result["difference"], f"the margin is ±{number(result['margin'])}"
    if result["margin"] == 0:
        margin = "so few pairs leave nothing of a margin of one seed-sd"
    return (
        f"{start}. PyTorch's mean is {number(abs(difference))} {'lower' if difference < 0 else 'higher'} than JAX's "
        f"(90 % interval {interval(result, 90)}, n = {result['num_pairs']} pairs); {margin}"
    )


def notices(report: Mapping[str, Any]) -> list[str]:
    """What must be read before any number."""
    found = [f"{name} is not finished ({why})" for name, why in report["unfinished"].items()]
    for framework, hashes in report["sources"].items():
        if len(hashes) > 1:
            name = FRAMEWORK_NAMES[framework]
            found.append(f"The sources changed during the study: {name} was trained by {len(hashes)} versions of them")
    if len(report["plan"]["presets"]) > 1:
        found.append("Verdicts are corrected for several presets, the intervals shown are not")
    if report["plan"]["quick_scoring"]:
        found.append("Scored by 2,000 samples, not by the full protocol")
    return found


def interval(result: Mapping[str, Any], level: int) -> str:
    """`-0.001 to 0.004`."""
    return f"{number(result[f'low{level}'])} to {number(result[f'high{level}'])}"


def table(metrics: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A row for each metric, below the headings."""
    head = ["metric", *FRAMEWORK_NAMES.values(), "difference", "margin", "verdict", "smallest margin", "power"]
    rows = [[*head, "correlation", "sign flips"]]
    for metric, result in metrics.items():
        title = METRICS[metric].title
        scores = [mean_and_sd(values) for values in result["values"].values()]
        if "difference" not in result:
            rows.append([title, *scores, *[NOTHING] * 2, result["verdict"], *[NOTHING] * 4])
            continue
        needed = result["num_pairs_needed"]
        rows.append(
            [
                title,
                *scores,
                f"{number(result['difference'])}, {interval(result, 90)} ({interval(result, 95)})",
                f"±{number(result['margin'])}",
                result["verdict"],
                number(result["half_width90"]),
                f"{100 * result['power']:.0f} % ({f'{needed:,}' if needed else 'more than 1,000'})",
                number(result["correlation"], digits=2),
                number(result["p_sign_flip"], digits=2),
            ]
        )
    return rows


def seeds_table(metrics: Mapping[str, Mapping[str, Any]], seeds: list[int]) -> list[list[str]]:
    """Every score of every run: a row for each seed, below the headings."""
    columns = {
        f"{METRICS[metric].title}, {framework}": values
        for metric, result in metrics.items()
        for framework, values in result["values"].items()
    }
    rows = [[str(seed), *(number(values[index], 4) for values in columns.values())] for index, seed in enumerate(seeds)]
    return [["seed", *columns], *rows]


def mean_and_sd(values: list[float | None]) -> str:
    """`0.662 ± 0.008`: the standard deviation over seeds."""
    known = [value for value in values if value is not None]
    return f"{number(float(np.mean(known)))} ± {number(float(np.std(known, ddof=1)))}" if len(known) > 1 else NOTHING


def plan_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """What was written down before the first run, and what ran."""
    plan = report["plan"]
    margins = [
        f"{METRICS[name].title} {'one seed-sd' if margin is None else f'±{margin:g}'}"
        for name, margin in plan["margins"].items()
    ]
    scored = "2,000 samples" if plan["quick_scoring"] else f"{plan['draws']} draws of 10,000 samples"
    recipes = [
        f"{preset}: --epochs {config['epochs']}, batch {config['batch_size']}, {config['precision']}"
        + (f", {config['train_size']:,} images" if config["train_size"] else "")
        for preset, config in plan["presets"].items()
    ]
    rows = {
        "SHA-256 of the plan": report["plan_hash"],
        "Written": report["plan_written_at"],
        "Commit": plan["commit"] or NOTHING,
        "Presets": "; ".join(recipes),
        "Seeds": seeds_text(plan["seeds"]),
        "Reserve seeds": seeds_text(plan["reserve_seeds"]),
        "Seeds that were run": seeds_text(report["seeds"]),
        "Scored by": scored,
        "Margins": ", ".join(margins),
        "Test": plan["test"],
        "Several presets": plan["multiplicity"],
        "Stopping rule": plan["stopping_rule"],
        "Exclusions": plan["exclusions"],
        "Sources": sources({name: hashes[0] for name, hashes in report["sources"].items() if hashes}) or NOTHING,
        "Devices": ", ".join(f"{name}: {', '.join(found)}" for name, found in report["devices"].items() if found),
    }
    return [["", "plan"], *([name, text] for name, text in rows.items())]


def seeds_text(seeds: list[int]) -> str:
    """`10 to 29`, or all of them."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds)) or "none"
