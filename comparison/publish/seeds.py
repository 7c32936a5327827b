"""python -m comparison.publish.seeds RUNS/A RUNS/B ...: quality over training seeds, as a Markdown table."""

import json
import sys
from pathlib import Path

import numpy as np

from common.errors import UserError, report_errors
from common.evaluation.catalogue import METRICS
from common.records.folder import FRAMEWORK_NAMES
from comparison.text import number


def main() -> int:
    """Print mean (lowest to highest) of every metric over the named comparisons, which must differ only in the seed."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    seeds = check_configs(folders)
    scored = {name: [read(folder / name / "metrics.json")["metrics"] for folder in folders] for name in FRAMEWORK_NAMES}
    print(f"Seeds {', '.join(map(str, seeds))}: mean (lowest to highest).\n")
    print(f"| metric | {' | '.join(FRAMEWORK_NAMES.values())} | real digits |\n| --- | --- | --- | --- |")
    everywhere = [name for name in METRICS if all(name in scores for runs in scored.values() for scores in runs)]
    apart = []
    for metric in everywhere:
        cells = [mean_and_range([scores[metric]["value"] for scores in runs]) for runs in scored.values()]
        if is_apart(*([scores[metric]["value"] for scores in runs] for runs in scored.values())):
            apart.append(METRICS[metric].title)
        floor = number(scored["torch"][0][metric]["floor"])
        print(f"| {METRICS[metric].title} | {' | '.join(cells)} | {floor} |")
    print(
        f"\nThe means of the two frameworks differ by no more than the standard deviation over seeds (the larger of "
        f"both frameworks') in {len(everywhere) - len(apart)} of {len(everywhere)} metrics; by more in "
        f"{', '.join(apart) or 'none'}."
    )
    return 0


def is_apart(first: list[float], second: list[float]) -> bool:
    """Whether two means differ by more than either side's standard deviation over seeds."""
    return bool(abs(np.mean(first) - np.mean(second)) > max(np.std(first, ddof=1), np.std(second, ddof=1)))


def check_configs(folders: list[Path]) -> list[int]:
    """The seeds, if nothing else differs."""
    configs = [read(folder / name / "config.json") for folder in folders for name in FRAMEWORK_NAMES]
    seeds = [config.pop("seed") for config in configs]
    if any(config != configs[0] for config in configs):
        raise UserError("the runs differ in more than the seed: name comparisons of one configuration")
    return list(dict.fromkeys(seeds))


def mean_and_range(values: list[float]) -> str:
    """Three numbers as text."""
    return f"{number(float(np.mean(values)))} ({number(min(values))} to {number(max(values))})"


def read(path: Path) -> dict:
    """A JSON file of a run."""
    if not path.exists():
        raise UserError(f"{path} is missing: name folders of finished comparisons")
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(report_errors("python -m comparison.publish.seeds", main))
