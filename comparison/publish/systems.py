"""python -m comparison.publish.systems [RUNS/SYSTEMS]: the tables of docs/systems, from train_systems.py's records.

The records are kept beside the results, in docs/results/systems.json: without a folder the tables are made from these.
"""

import sys
from pathlib import Path

from common.errors import UserError
from common.networks.presets import PRESETS
from common.records.folder import FRAMEWORK_NAMES, json_bytes, read_json, write_atomically
from comparison.publish import systems_tables
from comparison.publish.page import RESULTS, ROOT, replace_parts, run_publisher

RECORDS = RESULTS / "systems.json"
PRESET_NAMES = [name for name in PRESETS if name.startswith("seed") or name == "paper64-rgb"]
SYSTEMS = sorted({name.partition("-")[0] for name in PRESET_NAMES if name.startswith("seed")})
# What is followed epoch by epoch, and in the first steps.
WATCHED = ["seed001", "seed001-no-batchnorm", "seed004", "seed004-ttur", "seed004-mlp", "seed004-mlp-ttur"]
WATCHED_FROM_THE_START = ["seed001", "seed004"]


def publish(folders: list[Path]) -> None:
    """Replace the pages' tables, with the records of the folder if one is named."""
    for folder in folders:
        collect(folder)
    for page, parts in pages(read_json(RECORDS)).items():
        replace_parts(ROOT / "docs" / page, parts)


def pages(records: systems_tables.Records) -> dict[str, dict[str, str]]:
    """Page below docs -> the content of each of its named parts, in Markdown."""
    overview = systems_tables.overview_table(records) if records else "Not measured yet."
    return {
        "systems.md": {"overview": overview, "networks": systems_tables.networks(["paper64-rgb"])},
        **{f"systems/{system}.md": parts_of(records, system) for system in SYSTEMS},
    }


def parts_of(records: systems_tables.Records, system: str) -> dict[str, str]:
    """The made parts of one system's page: of the system itself and of its variations."""
    presets = [name for name in PRESET_NAMES if name.partition("-")[0] == system]
    parts = {
        "results": systems_tables.results(records, presets),
        "networks": systems_tables.networks(presets),
    }
    if system in WATCHED_FROM_THE_START:
        parts["epochs"] = systems_tables.trajectories(records, [name for name in presets if name in WATCHED])
        parts["first steps"] = systems_tables.first_steps(records, [system])
    if system == "seed004":
        parts["GAN against DCGAN"] = systems_tables.gan_against_dcgan(records)
    return {name: content or "Not measured yet." for name, content in parts.items()}


def collect(folder: Path) -> None:
    """Add the folder's records to those that are kept."""
    records = read_json(RECORDS)
    if not any(folder.glob("*/*/record.json")):
        raise UserError(f"{folder} holds no record.json: name what train_systems.py had as --output")
    for preset in PRESET_NAMES:
        found = {framework: read_json(folder / preset / framework / "record.json") for framework in FRAMEWORK_NAMES}
        if runs := {framework: record for framework, record in found.items() if record}:
            records[preset] = records.get(preset, {}) | runs
    ordered = {preset: records[preset] for preset in PRESET_NAMES if preset in records}
    write_atomically(RECORDS, json_bytes(ordered, indent=1))


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(2)))
