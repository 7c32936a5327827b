"""The commands of compare.py: `run`, the default, `report`, `parity`, `diff`, `convert`, `inception`, `bench`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from common.config import TrainConfig
from common.data.datasets import Dataset, fit_images, load_dataset
from common.errors import RunFailedError, Stopped, UserError
from common.options import RunOptions, parse_options
from common.records.folder import CONFIG_FILE
from common.safe_read import unreadable_is_named
from common.training.prepare import load_training_data
from comparison.parity.find_certificate import certify
from comparison.run_both import FRAMEWORKS, run_both

PROGRAM = "python compare.py"
DESCRIPTION = (
    "Train the same DCGAN in PyTorch and in JAX and report speed, losses and sample quality side by side. "
    "Other commands: `report FOLDER` writes the report of a folder again, `parity` checks that both are the same GAN, "
    "`diff A B` says where two checkpoints part, `convert CHECKPOINT --to FORMAT` takes one elsewhere, "
    "`inception SAMPLES` scores samples for comparison with published values, "
    "`bench` times a step of both so that the ratio can be trusted."
)
NUM_REAL_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class CompareOptions(RunOptions):
    """A comparison is a run of each framework, and a proof that they are the same."""

    certify: bool = True
    """Climb the quick parity ladder after training, unless this configuration has a certificate; no ratio without."""


def run_command(arguments: Sequence[str]) -> int:
    """Dispatch on the first word; returns the exit code."""
    if not arguments or arguments[0].startswith("-"):
        return run(arguments)
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"{name} is no command: choose one of {', '.join(COMMANDS)}")
    return COMMANDS[name](rest)


def run(arguments: Sequence[str]) -> int:
    """Train both frameworks, then report; if one did not get through, report on whatever there is."""
    options = parse_options(arguments, program=PROGRAM, description=DESCRIPTION, kind=CompareOptions)
    folder, console = options.folder, Console()
    if options.resume is not None:
        if options.output is not None or not options.resume.is_dir():
            raise UserError("--resume takes the folder of a comparison, like runs/NAME, and goes on in it: no --output")
        folder = options.resume
    dataset = load_training_data(options)
    try:
        code = run_both(options, folder)
    except RunFailedError:
        if any((folder / framework / "losses.csv").exists() for framework in FRAMEWORKS):
            show_report(folder, dataset, console)
        raise
    except Stopped:
        say_how_to_go_on(folder, console)
        raise
    if code == 0:
        if options.certify:
            certify(options, folder, console)
        show_report(folder, dataset, console)
    else:
        say_how_to_go_on(folder, console)
    return code


def say_how_to_go_on(folder: Path, console: Console) -> None:
    """What to type after a comparison that was stopped, if it had begun."""
    if any((folder / framework / CONFIG_FILE).exists() for framework in FRAMEWORKS):
        place = shlex.quote(str(folder))
        console.print(f"Go on with: {PROGRAM} --resume {place}", highlight=False, soft_wrap=True)
        console.print(f"A report of what is there: {PROGRAM} report {place}", highlight=False, soft_wrap=True)


def report(arguments: Sequence[str]) -> int:
    """`python compare.py report FOLDER [DATA_DIR]`: write the report of an existing folder again."""
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        raise UserError(f"name the folder of a comparison: {PROGRAM} report FOLDER [DATA_DIR]")
    folder = Path(arguments[0])
    data_dir = Path(arguments[1]) if len(arguments) == 2 else None
    configs = [folder / framework / "config.json" for framework in FRAMEWORKS]
    with unreadable_is_named(folder):
        found = next((path for path in configs if path.exists()), None)
    if found is None:
        raise UserError(f"{folder} holds no run: name a folder with {' or '.join(FRAMEWORKS)} in it")
    config = TrainConfig.from_json(found)
    dataset = load_dataset(config.dataset, data_dir, train_size=config.train_size)
    show_report(folder, dataset, Console(), image_size=config.image_size)
    return 0


def show_report(folder: Path, dataset: Dataset, console: Console, *, image_size: int | None = None) -> None:
    """Write report.html, report.md and comparison.json into `folder`, and print the summary table."""
    from comparison.report.write import print_summary, write_report

    images = np.concatenate([dataset.test_images[:NUM_REAL_IMAGES], dataset.train_images[:NUM_REAL_IMAGES]])
    # A set smaller than the panel is shown more than once.
    real_images = images[np.arange(NUM_REAL_IMAGES) % len(images)]
    comparison = write_report(folder, fit_images(real_images, image_size or images.shape[1]))
    print_summary(comparison, console)


def parity(arguments: Sequence[str]) -> int:
    """`python compare.py parity`: the ladder; both frameworks are imported only for it."""
    from comparison.commands.parity import parity as climb

    return climb(arguments)


def diff(arguments: Sequence[str]) -> int:
    """`python compare.py diff A B`: where two checkpoints part; a framework is imported only to run one."""
    from comparison.commands.diff import diff as compare

    return compare(arguments)


def convert(arguments: Sequence[str]) -> int:
    """`python compare.py convert CHECKPOINT --to ...`: out of this project and back; imports one framework."""
    from comparison.commands.convert import convert as take_elsewhere

    return take_elsewhere(arguments)


def inception(arguments: Sequence[str]) -> int:
    """`python compare.py inception SAMPLES`: FID and KID as others publish them; needs an extra package."""
    from comparison.commands.inception import inception as score

    return score(arguments)


def bench(arguments: Sequence[str]) -> int:
    """`python compare.py bench`: the time of a step; frameworks run in processes of their own."""
    from comparison.commands.bench import bench as measure

    return measure(arguments)


COMMANDS = {
    "run": run,
    "report": report,
    "parity": parity,
    "diff": diff,
    "convert": convert,
    "inception": inception,
    "bench": bench,
}
