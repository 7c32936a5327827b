"""python -m comparison.publish.study RUNS/STUDY: a finished seed study's page into docs/results/study."""

import shutil
import sys
from pathlib import Path

from common.errors import UserError
from comparison.publish.page import RESULTS, read_result, run_publisher
from comparison.study.page import figure_name
from comparison.study.plan import PLAN_FILE
from comparison.study.results import REPORT_FILE


def publish(folder: Path, docs: Path) -> None:
    """Replace the files in `docs` by the page, the figures, the numbers and the plan of the study in `folder`."""
    report = read_result(folder / REPORT_FILE, "name the folder of a study of `python compare.py study`")
    if report["unfinished"] or not report["presets"]:
        raise UserError(f"{folder} is not finished: start the study again with the words it was started with")
    if docs.exists():
        shutil.rmtree(docs)
    docs.mkdir(parents=True)
    for name in ("study.md", REPORT_FILE, PLAN_FILE, *map(figure_name, report["presets"])):
        shutil.copyfile(folder / name, docs / name)


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, lambda paths: publish(paths[0], RESULTS / "study"), num_paths=range(1, 2)))
