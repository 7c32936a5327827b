"""python -m comparison.publish.default_run RUNS/NAME: this comparison's report into docs/results and the README."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError, report_errors
from common.pictures.animation import ANIMATION_FILE
from common.records.folder import write_atomically
from comparison.report import training
from comparison.report.quality import quality_rows
from comparison.report.write import present_frameworks

ROOT = Path(__file__).parents[2]
COPIED = ("report.md", "report.html", "comparison.json", "figures", ANIMATION_FILE)
README_METRICS = ("coverage", "mnist_score", "class_kl", "frechet_distance")
BLOCK = re.compile(r"(<!-- results: .*? -->\n).*?(<!-- end of results -->)", re.DOTALL)


def publish(folder: Path, docs: Path, readme: Path) -> None:
    """Replace the files in `docs` by those of the comparison in `folder`, and the README's table with them."""
    results = read_results(folder)
    fresh = docs.with_name(f"{docs.name}.new")
    fresh.mkdir(parents=True)
    for name in COPIED:
        if not (folder / name).exists():
            continue  # a run without sample grids has no animation
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copyfile
        copy(folder / name, fresh / name)
    if docs.exists():
        shutil.rmtree(docs)
    fresh.rename(docs)
    text = readme.read_text(encoding="utf-8")
    write_atomically(readme, with_results(text, results).encode())


def read_results(folder: Path) -> dict[str, Any]:
    """The numbers of a finished comparison; one that is unfinished is not published."""
    path = folder / "comparison.json"
    if not path.exists():
        raise UserError(f"{folder} holds no report: run `python compare.py report {folder}` first")
    results = json.loads(path.read_text(encoding="utf-8"))
    if any(run is None or run["status"]["status"] != "finished" for run in results["frameworks"].values()):
        raise UserError(f"{folder} is not finished: only complete comparisons are published")
    return results


def with_results(readme: str, results: Mapping[str, Any]) -> str:
    """The README's text with the block between its two markers made anew."""
    assert BLOCK.search(readme), "the README has lost its results markers"
    return BLOCK.sub(lambda match: f"{match[1]}{results_block(results)}{match[2]}", readme)


def results_block(results: Mapping[str, Any]) -> str:
    """The headline table in Markdown, and the sentence that makes it honest."""
    frameworks = present_frameworks(results)
    headings = ["", *training.framework_columns(frameworks), "real digits"]
    rows = [(row.label, *row.cells, "") for row in training.speed_rows(frameworks)]
    rows += [(row.label, *row.cells) for row in quality_rows(frameworks, README_METRICS)]
    lines = [headings, ["---"] * len(headings), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    agreement = training.first_steps(results["loss_agreement"]).replace("Their", "The losses'", 1)
    return f"{table}\n\n{training.conditions(results)} {agreement} {training.ratio(results)}\n"


def main() -> int:
    """Publish the folder named on the command line."""
    if len(sys.argv) != 2:
        raise UserError("name one comparison's folder: python -m comparison.publish.default_run RUNS/NAME")
    publish(Path(sys.argv[1]), ROOT / "docs" / "results" / "default", ROOT / "README.md")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("python -m comparison.publish.default_run", main))
