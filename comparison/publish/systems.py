"""python -m comparison.publish.systems [RUNS/SYSTEMS]: the tables of docs/systems.md, from train_systems.py's records.

The records are kept beside the page, in docs/results/systems.json: without a folder the tables are made from these, and
the one of the author's step from docs/results/author_step.json, which scripts/time_author_step.py writes.
"""

import json
import re
import sys
from pathlib import Path

from common.errors import UserError, report_errors
from common.networks.presets import PRESETS
from common.records.folder import FRAMEWORK_NAMES
from comparison.publish import systems_tables

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RECORDS = DOCS / "systems.md", DOCS / "results" / "systems.json"
AUTHOR_STEP = DOCS / "results" / "author_step.json"
PRESET_NAMES = [name for name in PRESETS if name.startswith("seed") or name == "paper64-rgb"]
WATCHED = ["seed001", "seed001-no-batchnorm", "seed004", "seed004-ttur", "seed004-mlp", "seed004-mlp-ttur"]


def main() -> int:
    """Replace what stands between each pair of markers; the words around them stay."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if len(sys.argv) > 2:
        raise UserError(f"name one folder, or none: {(__doc__ or '').split(':')[0]}")
    if len(sys.argv) == 2:
        collect(Path(sys.argv[1]))
    records = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables(records).items():
        block = re.compile(rf"(<!-- {name}: .*?-->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
        assert block.search(text), f"docs/systems.md has lost its markers of {name}"
        text = block.sub(lambda match, table=table: f"{match[1]}{table}{match[2]}", text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def tables(records: systems_tables.Records) -> dict[str, str]:
    """Marker to Markdown."""
    unmeasured = ("results", "author's step", "GAN against DCGAN", "epochs", "first steps")
    found = dict.fromkeys(unmeasured, "Not measured yet.") | {"networks": systems_tables.networks_table(PRESET_NAMES)}
    if AUTHOR_STEP.exists():
        step = json.loads(AUTHOR_STEP.read_text(encoding="utf-8"))
        found["author's step"] = systems_tables.author_step_table(step)
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
    records = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    if not any(folder.glob("*/*/record.json")):
        raise UserError(f"{folder} holds no record.json: name what train_systems.py had as --output")
    for preset in PRESET_NAMES:
        found = {framework: folder / preset / framework / "record.json" for framework in FRAMEWORK_NAMES}
        runs = {
            framework: json.loads(path.read_text(encoding="utf-8"))
            for framework, path in found.items()
            if path.exists()
        }
        if runs:
            records[preset] = records.get(preset, {}) | runs
    ordered = {preset: records[preset] for preset in PRESET_NAMES if preset in records}
    RECORDS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(report_errors("python -m comparison.publish.systems", main))
