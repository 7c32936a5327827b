"""python -m comparison.publish.systems [RUNS/SYSTEMS]: the tables of docs/systems.md, from train_systems.py's records.

The records are kept beside the page, in docs/results/systems.json: without a folder the tables are made from these.
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
WATCHED = ["seed001", "seed001-no-batchnorm", "seed004", "seed004-ttur", "seed004-mlp", "seed004-mlp-ttur"]


def publish(folders: list[Path]) -> None:
    """Replace the page's tables, with the records of the folder if one is named."""
    for folder in folders:
        collect(folder)
    replace_parts(ROOT / "docs" / "systems.md", tables(read_json(RECORDS)))


def tables(records: systems_tables.Records) -> dict[str, str]:
    """The content of each named part of docs/systems.md, in Markdown."""
    unmeasured = ("results", "GAN against DCGAN", "epochs", "first steps")
    found = dict.fromkeys(unmeasured, "Not measured yet.") | {"networks": systems_tables.networks_table(PRESET_NAMES)}
    if not records:
        return found
    return found | {
        "results": systems_tables.results_table(records),
        "GAN against DCGAN": systems_tables.gan_against_dcgan_table(records),
        "epochs": systems_tables.trajectory_table(records, [name for name in WATCHED if name in records]),
        "first steps": systems_tables.first_steps_table(records, ["seed001", "seed004"]),
    }


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
