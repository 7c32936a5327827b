"""python -m comparison.publish.speed BENCH.json ...: the measured part of docs/results/speed.md and its figures.

Each file is what `python compare.py bench --json FILE` wrote; they come in the order in which they are named,
and their figures, which stand beside a copy of each, are named after them.
"""

import sys
from pathlib import Path

from common.errors import UserError
from common.records.folder import BENCH_FILE, write_atomically
from common.records.schema import check
from comparison.publish.page import RESULTS, read_result, replace_parts, run_publisher
from comparison.report.bench_figures import draw
from comparison.report.bench_words import definitions, page

FIGURES = RESULTS / "speed"


def publish(paths: list[Path]) -> None:
    """Replace the measured part of the page, and write each benchmark's figures and a copy of it."""
    stems = [path.stem for path in paths]
    if len({*stems}) < len(stems):
        raise UserError(f"two of the files have the same name, and their figures would: {', '.join(stems)}")
    FIGURES.mkdir(exist_ok=True)
    sections = []
    for path in paths:
        result = read_result(path, "name what compare.py bench --json wrote")
        check(BENCH_FILE, result)
        figures = {f"{path.stem}_{name}": content for name, content in draw(result).files.items()}
        for name, content in figures.items():
            write_atomically(FIGURES / name, content)
        write_atomically(FIGURES / path.name, path.read_bytes())
        sections.append(page(result, [f"speed/{name}" for name in figures]))
    sections.append(f"### What the columns mean\n\n{definitions()}\n")
    replace_parts(RESULTS / "speed.md", {"measured": "\n".join(sections)})


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1, 100)))
