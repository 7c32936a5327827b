"""python -m comparison.publish.default_run RUNS/NAME: this comparison's report into docs/results and the README."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.evaluation.catalogue import HEADLINE_METRICS
from common.records.environment import own_command
from common.records.folder import ANIMATION_FILE, COMPARISON_FILE, write_atomically
from comparison.publish.page import RESULTS, ROOT, read_result, replace_parts, run_publisher
from comparison.report import training
from comparison.report.files import without_dead_links
from comparison.report.quality import quality_rows
from comparison.report.write import present_frameworks
from comparison.text import markdown

COPIED = ("report.md", "report.html", COMPARISON_FILE, "figures", ANIMATION_FILE)


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
    for page in (fresh / "report.html", fresh / "report.md"):
        write_atomically(page, without_dead_links(page.read_text(encoding="utf-8"), fresh).encode())
    if docs.exists():
        shutil.rmtree(docs)
    fresh.rename(docs)
    replace_parts(readme, {"results": results_block(results)})


def read_results(folder: Path) -> dict[str, Any]:
    """The numbers of a finished comparison; one that is unfinished is not published."""
    results = read_result(
        folder / COMPARISON_FILE, f"run `{own_command('compare', 'report', folder.absolute())}` first"
    )
    if any(run is None or run["status"]["status"] != "finished" for run in results["frameworks"].values()):
        raise UserError(f"{folder} is not finished: only complete comparisons are published")
    return results


def results_block(results: Mapping[str, Any]) -> str:
    """The headline table in Markdown, and the sentence that makes it honest."""
    frameworks = present_frameworks(results)
    headings = ["", *training.framework_columns(frameworks), "real digits"]
    rows = [(row.label, *row.cells, "") for row in training.speed_rows(frameworks)]
    rows += [(row.label, *row.cells) for row in quality_rows(frameworks, HEADLINE_METRICS)]
    table = markdown([headings, *rows])
    agreement = training.first_steps(results["loss_agreement"]).replace("Their", "The losses'", 1)
    quiet = (results.get("quietness") or {}).get("sentence", "")  # older comparisons have none
    sentences = filter(None, [training.conditions(results), agreement, quiet, training.ratio(results)])
    return f"{table}\n\n{' '.join(sentences)}"


if __name__ == "__main__":
    sys.exit(
        run_publisher(
            __doc__, lambda paths: publish(paths[0], RESULTS / "default", ROOT / "README.md"), num_paths=range(1, 2)
        )
    )
