"""python scripts/write_systems.py [RUNS/SYSTEMS]: the tables of docs/systems.md, from what train_systems.py recorded.

The records are kept beside the page, in docs/results/systems.json: without a folder the tables are made from these.
"""

import json
import re
import sys
from pathlib import Path

from common.command import report_errors
from common.config import PRESETS
from common.errors import UserError
from common.records import FRAMEWORK_NAMES
from comparison import systems

DOCS = Path(__file__).parents[1] / "docs"
PAGE, RECORDS = DOCS / "systems.md", DOCS / "results" / "systems.json"
PRESET_NAMES = [name for name in PRESETS if name.startswith("seed") or name == "paper64-rgb"]
WATCHED = ["seed001", "seed001-no-batchnorm", "seed004", "seed004-ttur", "seed004-mlp", "seed004-mlp-ttur"]


def main() -> int:
    """Replace what stands between each pair of markers; the words around them stay."""
    if len(sys.argv) > 2:
        raise UserError(f"name one folder: {(__doc__ or '').split(':')[0]}")
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


def tables(records: systems.Records) -> dict[str, str]:
    """Marker to Markdown."""
    networks = {"networks": systems.networks_table(PRESET_NAMES)}
    if not records:
        return networks | dict.fromkeys(("results", "GAN against DCGAN", "epochs", "first steps"), "Not measured yet.")
    return networks | {
        "results": systems.results_table(records),
        "GAN against DCGAN": systems.gan_against_dcgan_table(records),
        "epochs": systems.trajectory_table(records, [name for name in WATCHED if name in records]),
        "first steps": systems.first_steps_table(records, ["seed001", "seed004"]),
    }


def collect(folder: Path) -> None:
    """Add the folder's records to those that are kept."""
    records = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    for preset in PRESET_NAMES:
        found = {name: folder / preset / name / "record.json" for name in FRAMEWORK_NAMES}
        runs = {n: json.loads(path.read_text(encoding="utf-8")) for n, path in found.items() if path.exists()}
        if runs:
            records[preset] = records.get(preset, {}) | runs
    ordered = {preset: records[preset] for preset in PRESET_NAMES if preset in records}
    RECORDS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(report_errors("write_systems.py", main))
