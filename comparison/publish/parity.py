"""python -m comparison.publish.parity FILE.json ...: the recorded part of the parity page.

Each file is what `compare.py parity --json FILE` wrote: a certificate, or with --planted-bugs what was caught. What is
recorded already, a climb of the same preset and variant or the bugs, stays unless a file of it is named.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import UserError, report_errors
from comparison.parity.certificate import worst_of_each_rung
from comparison.parity.ladder import RUNGS
from comparison.report.parity import parity_rows
from comparison.text import sources, tolerance

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "parity.md"
SUMMARY_HEAD = (
    "| preset | variant | parameters (G / D) | batch | ladder | measurements | verdict |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
BUGS_HEAD = "## Planted bugs"
START, END = "<!-- recorded: made by python -m comparison.publish.parity, do not edit -->", "<!-- end of recorded -->"


class Climb(NamedTuple):
    """One certificate on the page: its line in the summary, and its section."""

    summary: str
    section: str


def main() -> int:
    """Replace the recorded part of the page; what is written around it by hand stays."""
    if len(sys.argv) < 2:
        raise UserError(f"name the files: {(__doc__ or '').split(':')[0]}")
    files = [json.loads(Path(argument).read_text(encoding="utf-8")) for argument in sys.argv[1:]]
    bugs = next((found for found in files if "detections" in found), None)
    certificates = [found for found in files if "rungs" in found]
    page = RESULTS.read_text(encoding="utf-8")
    before, rest = page.split(START)
    old, after = rest.split(END)
    climbs = old_climbs(old) | {_title(found): Climb(summary(found), climb(found)) for found in certificates}
    head = "\n".join([*SUMMARY_HEAD, *(found.summary for found in climbs.values())])
    bugs_section = matrix(bugs) if bugs else old[old.index(BUGS_HEAD) :].strip()
    recorded = "\n\n".join([head, *(found.section for found in climbs.values()), bugs_section])
    RESULTS.write_text(f"{before}{START}\n\n{recorded}\n\n{END}{after}", encoding="utf-8")
    return 0


def old_climbs(recorded: str) -> dict[str, Climb]:
    """What the page has, by its headings."""
    summaries = {
        ", ".join(line.split(" | ")[:2]).removeprefix("| "): line
        for line in recorded.splitlines()
        if line.startswith("| ") and line.count(" | ") == SUMMARY_HEAD[0].count(" | ") and line not in SUMMARY_HEAD
    }
    sections = re.findall(r"^### (.+?)\n\n(.+?)(?=\n\n#)", recorded, re.MULTILINE | re.DOTALL)
    return {title: Climb(summaries[title], f"### {title}\n\n{text}") for title, text in sections}


def summary(found: Mapping[str, Any]) -> str:
    """A certificate in one line."""
    config, counts = found["config"], found["num_parameters"]
    failed = sum(not rung["holds"] for rung in found["rungs"])
    cells = [
        config["preset"],
        config["variant"],
        f"{counts['generator']:,} / {counts['discriminator']:,}",
        str(config["batch_size"]),
        "quick" if found["quick"] else "whole",
        str(len(found["rungs"])),
        "every rung holds" if not failed else f"**{failed} do not hold**",
    ]
    return f"| {' | '.join(cells)} |"


def climb(found: Mapping[str, Any]) -> str:
    """What climbed where, and of each rung the measurement with the least head-room."""
    rows = parity_rows(worst_of_each_rung(found["rungs"]))
    threads = f"{found['num_threads']} thread{'s' if found['num_threads'] > 1 else ''}"
    made = f"Ladder {found['ladder_hash'][:12]}, sources {sources(found['source_hashes'])}, {threads}."
    lines = [f"### {_title(found)}", "", made, "", "| rung | float64 | float32 |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.label} | {' | '.join(row.cells)} |" for row in rows)])


def matrix(bugs: Mapping[str, Any]) -> str:
    """Bugs down, rungs across, and the edit that plants each."""
    caught = sum(detection["rung"] is not None for detection in bugs["detections"])
    numbers = " | ".join(map(str, range(len(RUNGS))))
    lines = [
        BUGS_HEAD,
        "",
        f"{caught} of {len(bugs['detections'])} are caught; a cross marks the first rung that catches each. "
        "Where there is no number, shapes no longer fit each other.",
        "",
        f"| bug | planted in | {numbers} | measured |",
        f"| --- | --- | {' | '.join('---' for _ in RUNGS)} | --- |",
    ]
    for found in bugs["detections"]:
        marks = " | ".join("x" if found["rung"] == rung else "" for rung in range(len(RUNGS)))
        measured = (
            "no number" if found["measured"] is None else f"{found['measured']:.1e} of {tolerance(found['tolerance'])}"
        )
        lines.append(f"| {found['bug']} | {found['file']} | {marks} | {measured} |")
    lines += ["", "What each edit is:", ""]
    for found in bugs["detections"]:
        edits = "; ".join(
            f"`{_one_line(edit['before'])}` becomes `{_one_line(edit['after'])}`"
            if edit["after"]
            else f"`{_one_line(edit['before'])}` is removed"
            for edit in found["edits"]
        )
        config = f" (with {', '.join(f'{name} {value}' for name, value in found['config'].items())})"
        lines.append(f"- {found['bug']}: {edits}{config if found['config'] else ''}")
    return "\n".join(lines)


def _title(found: Mapping[str, Any]) -> str:
    return f"{found['config']['preset']}, {found['config']['variant']}"


def _one_line(code: str) -> str:
    return " ⏎ ".join(line.strip() for line in code.strip().splitlines())


if __name__ == "__main__":
    sys.exit(report_errors("python -m comparison.publish.parity", main))
