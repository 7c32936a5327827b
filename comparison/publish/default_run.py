"""python -m comparison.publish.default_run RUNS/NAME: this comparison's report into docs/results and the README."""

import shutil
import sys
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.records.environment import own_command
from common.records.folder import ANIMATION_FILE, COMPARISON_FILE, write_atomically
from comparison.publish import readme
from comparison.publish.page import RESULTS, read_result, run_publisher
from comparison.report.files import without_dead_links

COPIED = ("report.md", "report.html", COMPARISON_FILE, "figures", ANIMATION_FILE)


def publish(folder: Path, docs: Path) -> None:
    """Replace the files in `docs` by those of the comparison in `folder`."""
    read_results(folder)
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


def read_results(folder: Path) -> dict[str, Any]:
    """The numbers of a finished comparison; one that is unfinished is not published."""
    results = read_result(
        folder / COMPARISON_FILE, f"run `{own_command('compare', 'report', folder.absolute())}` first"
    )
    if any(run is None or run["status"]["status"] != "finished" for run in results["frameworks"].values()):
        raise UserError(f"{folder} is not finished: only complete comparisons are published")
    return results


def main(paths: list[Path]) -> None:
    """Publish into this checkout."""
    publish(paths[0], RESULTS / "default")
    readme.publish([])


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, main, num_paths=range(1, 2)))
