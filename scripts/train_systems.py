"""python scripts/train_systems.py PRESET [--epochs N] ...: a seed document's system in both frameworks.

Trains epoch by epoch, and scores 2,000 samples quickly after each, so that one sees what quality does while the losses
do something else; after the last, all 10,000 by every metric. Leaves `record.json` in the run's folder, from which
comparison/publish/systems.py makes the tables of docs/systems. Run it alone: it times what it trains.
"""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from common.config import to_dict
from common.errors import RunFailedError, UserError, report_errors
from common.networks.presets import PRESETS
from common.options import parse
from common.records.environment import default_num_threads
from common.records.folder import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EPOCHS_FILE,
    LOSSES_FILE,
    SAMPLES_FILE,
    json_bytes,
    read_json,
    write_atomically,
)
from common.records.series import read_epochs, read_losses
from comparison.processes import child_environment
from comparison.publish.systems_tables import FIRST_STEPS
from comparison.train_by_epoch import train_epochwise


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train one earlier system, its networks and its recipe, in both twins, and record every epoch's quality."""

    preset: Annotated[str, tyro.conf.Positional]
    """The system."""
    epochs: int = 5
    """Passes over the training images."""
    train_size: int = 0
    """Train on the first so many images only; 0 is all of them."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of both networks."""
    frameworks: tuple[Literal["torch", "jax"], ...] = ("torch", "jax")
    """Which of torch and jax."""
    output: Path = Path("runs/systems")
    """Where the folder named after the preset goes."""


def main() -> int:
    """Train, score, record; a framework that has its record already is left alone, unless it is of other flags."""
    options = parse(Options, sys.argv[1:], program="train_systems.py")
    if options.preset not in PRESETS:
        raise UserError(f"{options.preset} is unknown: choose one of {', '.join(PRESETS)}")
    if options.epochs < 1:
        raise UserError(f"--epochs is {options.epochs}: pass 1 or more")
    for framework in options.frameworks:
        folder = options.output / options.preset / framework
        if (folder / "record.json").exists():
            check_recorded(folder, options)
        elif folder.exists():
            raise UserError(
                f"{folder} holds an unfinished run, whose speeds are lost: remove it, or name another --output"
            )
        else:
            record = train(framework, options, folder)
            write_atomically(folder / "record.json", json_bytes(record))
    return 0


def check_recorded(folder: Path, options: Options) -> None:
    """Say that there is a record already; raise UserError if it is of other flags, or of what the preset once was."""
    recorded = read_json(folder / "record.json")["config"]
    flags = {"epochs": options.epochs, "train_size": options.train_size, "precision": options.precision}
    for name, value in to_dict(replace(PRESETS[options.preset].recipe, **flags)).items():
        if (has := recorded.get(name)) != value:
            raise UserError(f"{folder} was trained with {name} {has}, not {value}: name another --output, or remove it")
    print(f"{folder} has its record: left alone", flush=True)


def train(framework: str, options: Options, folder: Path) -> dict[str, Any]:
    """One framework, one process an epoch; the speed is the median over their steady chunks."""
    flags = [f"--preset={options.preset}", f"--train-size={options.train_size}", f"--precision={options.precision}"]
    passed = list(train_epochwise(framework, flags, folder, num_epochs=options.epochs, run=call))
    scored = folder / "scored.json"
    call([sys.executable, "-m", "common.evaluation", str(folder / SAMPLES_FILE), f"--json={scored}"])
    environment = read_json(folder / ENVIRONMENT_FILE)
    return {
        "config": read_json(folder / CONFIG_FILE),
        "images_per_second": [epoch.images_per_second for epoch in passed],
        "epochs": [row._asdict() for row in read_epochs(folder / EPOCHS_FILE)],
        "quick_quality": [epoch.quality for epoch in passed],
        "metrics": read_json(scored)["metrics"],
        # The beginning of the first epoch, where the discriminator is said to learn before the generator.
        "first_steps": [row._asdict() for row in read_losses(folder / LOSSES_FILE) if row.step in FIRST_STEPS],
        **{name: environment[name] for name in ("num_parameters", "num_threads", "packages", "cpu_flags")},
    }


def call(command: list[str]) -> None:
    """Run to the end, or fail as it did."""
    print(" ".join(command[1:]), flush=True)
    if subprocess.run(command, check=False, env=child_environment(default_num_threads())).returncode:
        raise RunFailedError(f"{' '.join(command[1:])} failed")


if __name__ == "__main__":
    sys.exit(report_errors("train_systems.py", main))
