"""python -m comparison.publish.speed BENCH.json ...: the measured part of docs/results/speed.md and its figures.

Each file is what `python compare.py bench --json FILE` wrote; they come in the order in which they are named,
and their figures, which stand beside a copy of each, are named after them.
"""

import json
import sys
from pathlib import Path

from common.errors import UserError, report_errors
from common.records.folder import write_atomically
from comparison.report.bench_figures import draw
from comparison.report.bench_words import definitions, page

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAGE, FIGURES = RESULTS / "speed.md", RESULTS / "speed"
START, END = "<!-- measured: made by python -m comparison.publish.speed, do not edit -->", "<!-- end of measured -->"


def main() -> int:
    """Replace what stands between the markers; the words around them stay."""
    if len(sys.argv) < 2:
        raise UserError(f"name the files: {(__doc__ or '').split(':')[0]}")
    FIGURES.mkdir(exist_ok=True)
    sections = [definitions() + "\n"]
    stems = [Path(argument).stem for argument in sys.argv[1:]]
    if len({*stems}) < len(stems):
        raise UserError(f"two of the files have the same name, and their figures would: {', '.join(stems)}")
    for argument in sys.argv[1:]:
        result = json.loads(Path(argument).read_text(encoding="utf-8"))
        figures = {f"{Path(argument).stem}_{name}": content for name, content in draw(result).items()}
        for name, content in figures.items():
            write_atomically(FIGURES / name, content)
        write_atomically(FIGURES / Path(argument).name, Path(argument).read_bytes())
        sections.append(page(result, [f"speed/{name}" for name in figures]))
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    measured = "\n".join(sections)
    write_atomically(PAGE, f"{before}{START}\n\n{measured}\n{END}{after}".encode())
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("python -m comparison.publish.speed", main))
