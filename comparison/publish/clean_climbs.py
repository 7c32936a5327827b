"""python -m comparison.publish.clean_climbs docs/results/clean_climbs.json: false alarms of the ladder, counted.

The code is climbed as it is, from several seeds and on one and two threads, one process after the other. The file gets
each climb as it ends, and what it holds of these very sources is not climbed again. The parity page's table is of it.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.networks.presets import PRESETS
from common.records.environment import source_hash
from common.records.folder import FRAMEWORK_NAMES, PARITY_FILE, read_json, write_json
from comparison.parity.find_certificate import climb_quickly
from comparison.parity.identity import ladder_hash
from comparison.processes import Children
from comparison.publish.page import RESULTS, replace_parts, run_publisher
from comparison.text import markdown

PAGE, RECORD = RESULTS / "parity.md", RESULTS / "clean_climbs.json"
SMALL_BATCH = 16
# Preset -> the part of its width that is climbed; a part alone is climbed in small batches.
WIDTH_DIVISORS = {"smoke": 1, "dcgan32": 1, "seed001": 4, "seed003": 4, "seed004-mlp": 4}
SEEDS, NUMS_THREADS = (0, 1, 2), (1, 2)
HEAD = ("preset", "width", "batch", "climbs", "measurements", "false alarms")


def publish(paths: list[Path]) -> None:
    """Climb what the file lacks, and replace the part of the page that is made of it."""
    (path,) = paths
    climbs = list(read_json(path).get("climbs", [])) if path.exists() else []
    sources = {"ladder": ladder_hash(), **{name: source_hash(name) for name in FRAMEWORK_NAMES}}
    climbs = [each for each in climbs if each["sources"] == sources]
    known = {(each["preset"], each["seed"], each["num_threads"]) for each in climbs}
    with Children() as children:
        for preset, seed, num_threads in product(WIDTH_DIVISORS, SEEDS, NUMS_THREADS):
            if (preset, seed, num_threads) not in known:
                climbs.append({**climb(preset, seed, num_threads, children), "sources": sources})
                write_json(path, {"climbs": climbs})
    replace_parts(PAGE, {"clean climbs": table(climbs)})


def climb(preset: str, seed: int, num_threads: int, children: Children) -> dict[str, Any]:
    """One quick ladder: how many measurements, and those that do not hold though nothing is wrong."""
    divisor, whole = WIDTH_DIVISORS[preset], PRESETS[preset]
    width = whole.width // divisor
    batch_size = whole.recipe.batch_size if divisor == 1 else SMALL_BATCH
    flags = [f"--preset={preset}", f"--seed={seed}", f"--threads={num_threads}", "--device=cpu"]
    flags += [f"--width={width}", f"--batch-size={batch_size}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PARITY_FILE
        if reason := climb_quickly(flags, path, children, num_threads=num_threads):
            raise UserError(f"{preset} could not be climbed: {reason}")
        rungs = read_json(path)["rungs"]
    return {
        "preset": preset,
        "width": width,
        "batch_size": batch_size,
        "seed": seed,
        "num_threads": num_threads,
        "num_measurements": len(rungs),
        "false_alarms": [
            f"rung {rung['rung']}, {rung['precision']}, {rung['name']}" for rung in rungs if not rung["holds"]
        ],
    }


def table(climbs: Sequence[Mapping[str, Any]]) -> str:
    """A line for each preset, and the count of all."""
    rows: list[Sequence[str]] = [HEAD]
    for preset in dict.fromkeys(each["preset"] for each in climbs):
        own = [each for each in climbs if each["preset"] == preset]
        numbers = [sum(len(each["false_alarms"]) for each in own), sum(each["num_measurements"] for each in own)]
        shared = [str(own[0]["width"]), str(own[0]["batch_size"])]
        lists = [", ".join(map(str, sorted({each[name] for each in own}))) for name in ("seed", "num_threads")]
        climbed = f"{len(own)} (seed {lists[0]}; threads {lists[1]})"
        rows.append((preset, *shared, climbed, f"{numbers[1]:,}", str(numbers[0])))
    alarms = [
        f"- {each['preset']}, seed {each['seed']}, --threads {each['num_threads']}: {alarm}"
        for each in climbs
        for alarm in each["false_alarms"]
    ]
    alarmed = sum(bool(each["false_alarms"]) for each in climbs)
    text = f"False alarms came up in {alarmed} of {len(climbs)} climbs.\n\n{markdown(rows)}"
    return "\n\n".join(filter(None, [text, "\n".join(alarms)]))


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1, 2)))
