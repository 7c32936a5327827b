"""The commands of compare.py: `run`, the default, and `report`."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from common.command import report_errors
from common.config import TrainConfig
from common.data import fit_images, load_dataset
from common.errors import RunFailedError, UserError
from common.options import parse_options
from comparison.report import Comparison, print_summary, write_report
from comparison.runs import FRAMEWORKS, run_both

PROGRAM = "python compare.py"
DESCRIPTION = "Train the same DCGAN in PyTorch and in JAX and report speed, losses and sample quality side by side."
NUM_REAL_IMAGES = 64


def main(arguments: Sequence[str]) -> int:
    """Dispatch on the first word; returns the exit code."""
    if arguments and not arguments[0].startswith("-"):
        name, *rest = arguments
        if name not in COMMANDS:
            names = ", ".join(COMMANDS)
            return report_errors(PROGRAM, lambda: _refuse(f"{name} is no command: choose one of {names}"))
        return report_errors(f"{PROGRAM} {name}", lambda: COMMANDS[name](rest))
    return report_errors(PROGRAM, lambda: run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Train both frameworks, then report; after a failure, report on whatever did finish."""
    options = parse_options(arguments, program=PROGRAM, description=DESCRIPTION)
    folder, console = options.folder, Console()
    try:
        code = run_both(options, folder, console)
    except RunFailedError:
        if any((folder / framework / "losses.csv").exists() for framework in FRAMEWORKS):
            show_report(folder, options.config, data_dir=options.data_dir, console=console)
        raise
    if code == 0:
        show_report(folder, options.config, data_dir=options.data_dir, console=console)
    return code


def report(arguments: Sequence[str]) -> int:
    """`python compare.py report FOLDER [DATA_DIR]`: write the report of an existing folder again."""
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        raise UserError("name the folder of a comparison: python compare.py report FOLDER [DATA_DIR]")
    folder = Path(arguments[0])
    data_dir = Path(arguments[1]) if len(arguments) == 2 else None
    configs = [folder / framework / "config.json" for framework in FRAMEWORKS]
    found = next((path for path in configs if path.exists()), None)
    if found is None:
        raise UserError(f"{folder} holds no run: name a folder with {' or '.join(FRAMEWORKS)} in it")
    show_report(folder, TrainConfig.from_json(found), data_dir=data_dir, console=Console())
    return 0


def show_report(folder: Path, config: TrainConfig, *, data_dir: Path | None, console: Console) -> Comparison:
    """Write report.html, report.md and comparison.json into `folder`, and print the summary table."""
    dataset = load_dataset(config.dataset, data_dir)
    real_images = fit_images(dataset.test_images[:NUM_REAL_IMAGES], config.image_size)
    comparison = write_report(folder, real_images)
    print_summary(comparison, console)
    return comparison


def _refuse(message: str) -> int:
    raise UserError(message)


COMMANDS = {"run": run, "report": report}
