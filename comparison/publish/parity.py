"""python -m comparison.publish.parity FILE.json ...: the recorded part of the parity page.

Each file is what `compare.py parity --json FILE` wrote: a certificate, or with --planted-bugs what was caught. What is
recorded already, a climb of the same preset and variant or the bugs, stays unless a file of it is named.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.records.folder import write_atomically
from comparison.parity.certificate import worst_of_each_rung
from comparison.publish import bug_map
from comparison.publish.page import RESULTS, part, read_result, replace_parts, run_publisher
from comparison.report.parity import parity_rows
from comparison.text import markdown, sources, tolerance

PAGE = RESULTS / "parity.md"
BUG_MAP = "parity/planted_bugs.svg"
SUMMARY_HEAD = ("preset", "variant", "parameters (G / D)", "batch", "ladder", "verdict")
BUGS_HEAD = "## Planted bugs"


class Climb(NamedTuple):
    """One certificate on the page: its line in the summary, and its section."""

    summary: tuple[str, ...]
    section: str


def publish(paths: list[Path]) -> None:
    """Replace the recorded part of the page; what is written around it by hand stays."""
    files = [read_result(path, "name what compare.py parity --json wrote") for path in paths]
    bugs = next((_with_known_misses(found) for found in files if "detections" in found), None)
    certificates = [found for found in files if "rungs" in found]
    old = part(PAGE.read_text(encoding="utf-8"), "recorded")[2]
    climbs = old_climbs(old) | {_title(found): Climb(summary(found), climb(found)) for found in certificates}
    head = markdown([SUMMARY_HEAD, *(found.summary for found in climbs.values())])
    bugs_section = matrix(bugs) if bugs else old[old.index(BUGS_HEAD) :]
    replace_parts(PAGE, {"recorded": "\n\n".join([head, *(c.section for c in climbs.values()), bugs_section])})
    write_atomically(RESULTS / BUG_MAP, bug_map.draw(bug_map.read_table(bugs_section)))


def old_climbs(recorded: str) -> dict[str, Climb]:
    """The certificates that the page shows already, by their headings."""
    table = recorded.strip().split("\n\n")[0].splitlines()[2:]
    rows = [tuple(line.removeprefix("| ").removesuffix(" |").split(" | ")) for line in table]
    sections = re.findall(r"^(### .+?\n\n.+?)(?=\n\n#)", recorded, re.MULTILINE | re.DOTALL)
    return {f"{row[0]}, {row[1]}": Climb(row, section) for row, section in zip(rows, sections, strict=True)}


def summary(found: Mapping[str, Any]) -> tuple[str, ...]:
    """A certificate in one line."""
    config, counts = found["config"], found["num_parameters"]
    failed = sum(not rung["holds"] for rung in found["rungs"])
    return (
        config["preset"],
        config["variant"],
        f"{counts['generator']:,} / {counts['discriminator']:,}",
        str(config["batch_size"]),
        f"{'quick' if found['quick'] else 'whole'}, {len(found['rungs'])} measurements",
        "every rung holds" if not failed else f"**{failed} do not hold**",
    )


def climb(found: Mapping[str, Any]) -> str:
    """What climbed where, and of each rung the measurement with the least head-room."""
    rows = parity_rows(worst_of_each_rung(found["rungs"]))
    threads = f"{found['num_threads']} thread{'s' if found['num_threads'] > 1 else ''}"
    made = f"Ladder {found['ladder_hash'][:12]}, sources {sources(found['source_hashes'])}, {threads}."
    table = markdown([("rung", "float64", "float32"), *((row.label, *row.cells) for row in rows)])
    return f"### {_title(found)}\n\n{made}\n\n{table}"


def _with_known_misses(bugs: dict[str, Any]) -> dict[str, Any]:
    """A bug as small as rounding is caught in float32 on some processors: that is no catch to count on."""
    missed = {"rung": None, "kind": None, "name": None, "measured": None, "tolerance": None, "where": None}
    by_chance = ((each["missed_because"] and each["precision"] == "float32", each) for each in bugs["detections"])
    return bugs | {"detections": [each | missed if is_by_chance else each for is_by_chance, each in by_chance]}


def matrix(bugs: Mapping[str, Any]) -> str:
    """Each bug with its file, the first rung that catches it and the measurement, and the edit that plants it."""
    caught = sum(detection["rung"] is not None for detection in bugs["detections"])
    rows: list[Sequence[str]] = [bug_map.TABLE_HEAD]
    edits = []
    for found in bugs["detections"]:
        rows.append((found["bug"], found["file"], _first_rung(found["rung"]), _outcome(found)))
        config = f" (with {', '.join(f'{name} {value}' for name, value in found['config'].items())})"
        edits.append(f"- {found['bug']}: {'; '.join(map(_edit, found['edits']))}{config if found['config'] else ''}")
    return (
        f"{BUGS_HEAD}\n\n{caught} of {len(bugs['detections'])} are caught. The table names the first rung that catches "
        "each. Where there is no number, shapes no longer fit each other. A bug that is missed has its reason beside "
        "it, and the test of this table fails if float64 catches it after all. What float32 catches of these on one "
        "processor alone counts as missed.\n\n"
        f"![{bug_map.CAPTION}]({BUG_MAP})\n\n"
        f"{markdown(rows)}\n\nWhat each edit is:\n\n" + "\n".join(edits)
    )


def _first_rung(rung: int | None) -> str:
    return "" if rung is None else bug_map.RUNG_NAMES[rung]


def _outcome(found: Mapping[str, Any]) -> str:
    if found["rung"] is None:
        return f"missed: {found['missed_because']}"
    return "no number" if found["measured"] is None else f"{found['measured']:.1e} of {tolerance(found['tolerance'])}"


def _edit(edit: Mapping[str, str]) -> str:
    becomes = f"becomes `{_one_line(edit['after'])}`" if edit["after"] else "is removed"
    return f"`{_one_line(edit['before'])}` {becomes}"


def _title(found: Mapping[str, Any]) -> str:
    return f"{found['config']['preset']}, {found['config']['variant']}"


def _one_line(code: str) -> str:
    return " ⏎ ".join(line.strip() for line in code.strip().splitlines())


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1, 100)))
