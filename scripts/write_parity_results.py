"""python scripts/write_parity_results.py BUGS.json CERTIFICATE.json ...: the recorded part of the parity page."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.command import report_errors
from common.errors import UserError
from comparison.certified import worst_of_each_rung
from comparison.parity.ladder import RUNGS
from comparison.tables import parity_rows

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "parity.md"
START, END = "<!-- recorded: made by scripts/write_parity_results.py, do not edit -->", "<!-- end of recorded -->"


def main() -> int:
    """Replace the recorded part of the page; what is written around it by hand stays."""
    if len(sys.argv) < 3:
        raise UserError(f"name the files: {(__doc__ or '').split(':')[0]}")
    bugs, *certificates = (json.loads(Path(argument).read_text(encoding="utf-8")) for argument in sys.argv[1:])
    page = RESULTS.read_text(encoding="utf-8")
    before, rest = page.split(START)
    _, after = rest.split(END)
    recorded = "\n\n".join([climbs(certificates), *map(climb, certificates), matrix(bugs)])
    RESULTS.write_text(f"{before}{START}\n\n{recorded}\n\n{END}{after}", encoding="utf-8")
    return 0


def climbs(certificates: Sequence[Mapping[str, Any]]) -> str:
    """One line a certificate."""
    lines = [
        "| preset | variant | parameters (G / D) | batch | ladder | measurements | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in certificates:
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
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def climb(found: Mapping[str, Any]) -> str:
    """The measurement with the least head-room of each rung."""
    config = found["config"]
    rows = parity_rows(worst_of_each_rung(found["rungs"]))
    lines = [f"### {config['preset']}, {config['variant']}", "", "| rung | float64 | float32 |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.label} | {' | '.join(row.cells)} |" for row in rows)])


def matrix(bugs: Mapping[str, Any]) -> str:
    """Bugs down, rungs across, and the edit that plants each."""
    caught = sum(detection["rung"] is not None for detection in bugs["detections"])
    numbers = " | ".join(map(str, range(len(RUNGS))))
    lines = [
        "## Planted bugs",
        "",
        f"{caught} of {len(bugs['detections'])} are caught; a cross marks the first rung that catches each. "
        "Where there is no number, shapes no longer fit each other.",
        "",
        f"| bug | planted in | {numbers} | measured |",
        f"| --- | --- | {' | '.join('---' for _ in RUNGS)} | --- |",
    ]
    for found in bugs["detections"]:
        marks = " | ".join("x" if found["rung"] == rung else "" for rung in range(len(RUNGS)))
        measured = "no number" if found["measured"] is None else f"{found['measured']:.0e} of {found['tolerance']:.0e}"
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


def _one_line(code: str) -> str:
    return " ⏎ ".join(line.strip() for line in code.strip().splitlines())


if __name__ == "__main__":
    sys.exit(report_errors("python scripts/write_parity_results.py", main))
