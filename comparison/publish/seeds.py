"""python -m comparison.publish.seeds RUNS/A RUNS/B ...: quality over training seeds, as a Markdown table."""

import sys
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.evaluation.catalogue import METRICS
from common.records.folder import CONFIG_FILE, FRAMEWORK_NAMES, METRICS_FILE
from comparison.publish.page import read_result, run_publisher
from comparison.text import markdown, number

ADVICE = "name folders of finished comparisons"


def publish(folders: list[Path]) -> None:
    """Print mean (lowest to highest) of every metric over the named comparisons, which must differ only in the seed."""
    seeds = check_configs(folders)
    scored = [
        [read_result(folder / name / METRICS_FILE, ADVICE)["metrics"] for folder in folders] for name in FRAMEWORK_NAMES
    ]
    everywhere = [name for name in METRICS if all(name in scores for runs in scored for scores in runs)]
    rows, apart = [], []
    for metric in everywhere:
        values = [[scores[metric]["value"] for scores in runs] for runs in scored]
        rows.append((METRICS[metric].title, *map(mean_and_range, values), number(scored[0][0][metric]["floor"])))
        if is_apart(*values):
            apart.append(METRICS[metric].title)
    print(f"Seeds {', '.join(map(str, seeds))}: mean (lowest to highest).\n")
    print(markdown([("metric", *FRAMEWORK_NAMES.values(), "real digits"), *rows]))
    print(
        f"\nThe means of the two frameworks differ by no more than the standard deviation over seeds (the larger of "
        f"both frameworks') in {len(everywhere) - len(apart)} of {len(everywhere)} metrics; by more in "
        f"{', '.join(apart) or 'none'}."
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
