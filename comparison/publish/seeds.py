"""python -m comparison.publish.seeds RUNS/A RUNS/B ...: quality over training seeds, as a Markdown table.

It prints the table, and writes docs/results/seeds.json and the figure of it.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.errors import UserError
from common.evaluation.catalogue import METRICS
from common.records.folder import CONFIG_FILE, FRAMEWORK_NAMES, METRICS_FILE, json_bytes, write_atomically
from comparison.publish.page import RESULTS, read_result, run_publisher
from comparison.report.charts import conclude
from comparison.report.palette import COLOURS, MARKERS, STYLE
from comparison.report.svg import figure_svg
from comparison.text import SHORT_NAMES, markdown, number

RECORD, FIGURE = RESULTS / "seeds.json", RESULTS / "quality" / "seeds.svg"
ADVICE = "name folders of finished comparisons"
SHOWN = ("frechet_distance", "kid", "mnist_score", "precision", "recall", "coverage")


def publish(folders: list[Path]) -> None:
    """Print mean (lowest to highest) of every metric over the named comparisons, which must differ only in the seed."""
    seeds = check_configs(folders)
    scored = {
        name: [read_result(folder / name / METRICS_FILE, ADVICE)["metrics"] for folder in folders]
        for name in FRAMEWORK_NAMES
    }
    everywhere = [name for name in METRICS if all(name in scores for runs in scored.values() for scores in runs)]
    values = {
        metric: {name: [scores[metric]["value"] for scores in runs] for name, runs in scored.items()}
        for metric in everywhere
    }
    floors = {metric: scored["torch"][0][metric]["floor"] for metric in everywhere}
    record = {"seeds": seeds, "values": values, "floors": floors}
    print_table(record)
    write_atomically(RECORD, json_bytes(record, indent=1))
    FIGURE.parent.mkdir(exist_ok=True)
    write_atomically(FIGURE, figure(record))


def figure(record: Mapping[str, Any]) -> bytes:
    """A dot a seed and framework, beside what real digits score."""
    values, floors = record["values"], record["floors"]
    num_apart = sum(is_apart(*found.values()) for found in values.values())
    shown = [name for name in SHOWN if name in values]
    num_seeds = len(next(iter(values[shown[0]].values())))
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(5.8, 0.85 * len(shown) + 1.0), layout="constrained")
        for axes, metric in zip(drawn.subplots(len(shown), 1), shown, strict=True):
            for height, (framework, found) in enumerate(values[metric].items()):
                style = {"color": COLOURS[framework], "marker": MARKERS[framework], "linestyle": ""}
                axes.plot(found, [height] * len(found), markersize=6, alpha=0.85, **style)
                axes.plot([np.mean(found)] * 2, [height - 0.3, height + 0.3], color=COLOURS[framework], linewidth=1.5)
            everything = np.concatenate([*values[metric].values()])
            margin = 0.12 * (np.ptp(everything) or 1)
            axes.set(xlim=(everything.min() - margin, everything.max() + margin), ylim=(-0.7, 1.7))
            axes.set(yticks=[0, 1], yticklabels=[SHORT_NAMES[name] for name in values[metric]])
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.invert_yaxis()
            axes.grid(axis="y", visible=False)
            axes.spines["left"].set_visible(False)
            title = METRICS[metric].title
            arrow = {"up": "more is better", "down": "less is better"}.get(METRICS[metric].better, "")
            axes.set_title(f"{title} ({arrow}; real digits {number(floors[metric])})", fontsize=9.5, weight="normal")
        conclude(
            drawn, f"In {len(values) - num_apart} of {len(values)} metrics the twins differ by no more than seeds do"
        )
        drawn.supxlabel(f"A dot a training seed (n = {num_seeds}), a line their mean.", x=0.01, ha="left", fontsize=9)
        return figure_svg(drawn, "seeds")


def print_table(record: dict[str, Any]) -> None:
    """What stands on the page."""
    rows, apart = [], []
    seeds, everywhere = record["seeds"], list(record["values"])
    for metric, found in record["values"].items():
        rows.append((METRICS[metric].title, *map(mean_and_range, found.values()), number(record["floors"][metric])))
        if is_apart(*found.values()):
            apart.append(METRICS[metric].title)
    print(f"Seeds {', '.join(map(str, seeds))}: mean (lowest to highest).\n")
    print(markdown([("metric", *FRAMEWORK_NAMES.values(), "real digits"), *rows]))
    print(
        f"\nIn {len(everywhere) - len(apart)} of {len(everywhere)} metrics the means of the two frameworks differ by "
        "no more than the standard deviation over seeds. That is the larger one of the two frameworks. "
        f"They differ by more in: {', '.join(apart) or 'none'}."
    )


def is_apart(first: list[float], second: list[float]) -> bool:
    """Whether two means differ by more than either side's standard deviation over seeds."""
    return bool(abs(np.mean(first) - np.mean(second)) > max(np.std(first, ddof=1), np.std(second, ddof=1)))


def check_configs(folders: list[Path]) -> list[int]:
    """The training seeds; UserError if the configurations differ in anything else."""
    configs = [read_result(folder / name / CONFIG_FILE, ADVICE) for folder in folders for name in FRAMEWORK_NAMES]
    seeds = [config.pop("seed") for config in configs]
    if any(config != configs[0] for config in configs):
        raise UserError("the runs differ in more than the seed: name comparisons of one configuration")
    return list(dict.fromkeys(seeds))


def mean_and_range(values: list[float]) -> str:
    """`mean (lowest to highest)`."""
    return f"{number(float(np.mean(values)))} ({number(min(values))} to {number(max(values))})"


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(2, 100)))
