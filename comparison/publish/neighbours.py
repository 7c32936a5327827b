"""python -m comparison.publish.neighbours BENCH.json ...: what busy programs cost, for docs/results/speed.md.

Each file is what `python compare.py bench --neighbours N --json FILE` wrote; a copy of it stays with the page.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.records.folder import BENCH_FILE, FRAMEWORK_NAMES, write_atomically
from common.records.schema import check
from comparison.publish.page import RESULTS, read_result, replace_parts, run_publisher
from comparison.report.bench_tables import interval_text, neighbour_rows
from comparison.report.bench_words import title
from comparison.text import markdown, processor, sources

RECORDS = RESULTS / "neighbours"


def publish(paths: list[Path]) -> None:
    """Replace the part of the page that tells of busy programs."""
    sections = []
    for path in paths:
        result = read_result(path, "name what compare.py bench --neighbours 2 --json wrote")
        check(BENCH_FILE, result)
        if not result.get("neighbours"):
            raise UserError(f"{path} has nothing of busy programs: make it with --neighbours 2")
        RECORDS.mkdir(exist_ok=True)
        write_atomically(RECORDS / path.name, path.read_bytes())
        sections.append(section(result))
    replace_parts(RESULTS / "speed.md", {"neighbours": "\n\n".join(sections)})


def section(result: Mapping[str, Any]) -> str:
    """One preset: the sentence, the table, and on what it was measured."""
    dearest = max(result["neighbours"], key=lambda entry: entry["num_neighbours"])["num_neighbours"]
    programs = "one program" if dearest == 1 else f"{dearest} programs"
    costs = [
        f"{FRAMEWORK_NAMES[entry['arm']]} {interval_text(entry['slowdown'])}"
        for entry in result["neighbours"]
        if entry["num_neighbours"] == dearest
    ]
    return "\n\n".join(
        [
            f"### {title(result)}, beside busy programs",
            f"**Beside {programs}, a step takes longer than alone: {', '.join(costs)} times** (95 % intervals).",
            markdown(neighbour_rows(result)),
            conditions(result),
        ]
    )


def conditions(result: Mapping[str, Any]) -> str:
    """On what, and how often."""
    machine, protocol = result["machine"], result["protocol"]
    packages, count = machine["packages"], protocol["repetitions"]
    return (
        f"{machine['num_threads']} threads of {machine['num_cpus']} CPUs ({processor(machine)}), "
        f"torch {packages['torch']}, jax {packages['jax']}. {count} processes an arm and number of programs. "
        f"In each, {protocol['num_warm_up_blocks'] + 1} blocks of {protocol['steps_per_block']} steps are to start, "
        f"and {protocol['num_blocks']} count. Sources {sources(machine['source_hashes'])}. "
        f"Begun {protocol['started_at']}."
    )


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1, 100)))
