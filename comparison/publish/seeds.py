"""python -m comparison.publish.seeds RUNS/A RUNS/B ...: quality over training seeds, as a Markdown table.

It prints the table, and writes docs/results/seeds.json and the figure of it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.evaluation.catalogue import METRICS
from common.records.folder import CONFIG_FILE, FRAMEWORK_NAMES, METRICS_FILE, write_atomically
from comparison.publish import seeds_figure
from comparison.publish.page import RESULTS, read_result, run_publisher
from comparison.text import markdown, number

RECORD, FIGURE = RESULTS / "seeds.json", RESULTS / "quality" / "seeds.svg"
ADVICE = "name folders of finished comparisons"


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
    write_atomically(RECORD, (json.dumps(record, indent=1) + "\n").encode())
    FIGURE.parent.mkdir(exist_ok=True)
    write_atomically(FIGURE, figure(record))


def figure(record: dict[str, Any]) -> bytes:
    """The record as dots."""
    num_apart = sum(is_apart(*found.values()) for found in record["values"].values())
    return seeds_figure.draw(record["values"], record["floors"], num_apart=num_apart)


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
