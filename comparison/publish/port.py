"""python -m comparison.publish.port [FILE.json]: docs/results/port.md's detection matrix.

The file is what `python -m tests.comparison.port.detect FILE.json` wrote; it becomes docs/results/port.json.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.records.folder import json_bytes, write_atomically
from comparison.publish.page import RESULTS, read_result, replace_parts, run_publisher
from comparison.text import markdown

RECORD, PAGE = RESULTS / "port.json", RESULTS / "port.md"
GROUPS = {
    "model": "Four models, written as each framework documents it",
    "thread": "Nine public threads",
    "planted": "Planted bugs of layers, losses and weights",
}


def publish(paths: list[Path]) -> None:
    """Replace the matrix by what is in the file, or write it again from what is kept."""
    result = read_result(paths[0] if paths else RECORD, "name what tests/comparison/port/detect.py wrote")
    if paths:
        write_atomically(RECORD, json_bytes(result, indent=1))
    replace_parts(PAGE, {"detection": matrix(result)})


def matrix(result: Mapping[str, Any]) -> str:
    """Every pair: at which stage it was found, what was named, and the likely cause; misses with their reason."""
    parts = []
    for group, heading in GROUPS.items():
        entries = [entry for entry in result["pairs"] if entry["group"] == group]
        faulty = [entry for entry in entries if entry["fault"]]
        clean = [entry for entry in entries if not entry["fault"]]
        found = [entry for entry in faulty if entry.get("stage") or entry["error"]]
        quiet = sum(not (entry.get("stage") or entry["error"]) for entry in clean)
        caused = sum(bool(entry.get("likely_cause")) for entry in found)
        counts = f"{len(found)} of {len(faulty)} faults are found, {caused} of them with a likely cause."
        if clean:
            counts += f" {quiet} of {len(clean)} clean pairs agree."
        rows = [("pair", "stage", "named first", "measured", "rounding", "likely cause"), *map(_row, entries)]
        parts.append(f"## {heading}\n\n{counts}\n\n{markdown(rows)}")
    return "\n\n".join(parts)


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    name = entry["name"] if entry["fault"] else f"{entry['name']} (clean)"
    if entry["error"]:
        return name, "refused", "", "", "", _cell(entry["error"])
    if not entry.get("stage"):
        return name, "**missed**" if entry["fault"] else "agrees", "", "", "", _cell(entry["missed_because"])
    module = f"`{entry['torch'] or entry['flax']}`" if entry["torch"] or entry["flax"] else "the whole"
    measured = "no number" if entry["measured"] is None else f"{entry['measured']:.1e}"
    cause = entry["likely_cause"] or "; ".join(entry["readings"][:1])
    return name, entry["stage"], module, measured, f"{entry['explained_by_rounding'] or 0:.0e}", _cell(cause)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(2)))
