"""`python compare.py report FOLDER`: write the report of a comparison that has been trained, finished or not, again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console

from common.config import TrainConfig
from common.data.datasets import Dataset, fit_images, load_dataset, prepare_dataset
from common.errors import UserError
from common.records.folder import CONFIG_FILE
from common.records.origin import check_same_data, recorded_data_dir
from common.safe_read import unreadable_is_named
from common.stages import stage_console
from comparison.run_both import FRAMEWORKS

NUM_REAL_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Write the report of a comparison again, from what its runs recorded: report.html, report.md, comparison.json."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A comparison like runs/NAME. It holds torch and jax, or one of them."""
    data_dir: Path | None = None
    """Where the data are, if they were moved since."""


def main(options: ReportOptions) -> int:
    """0 once the report is written and its summary printed."""
    folder = options.folder
    with unreadable_is_named(folder):
        found = next((path for name in FRAMEWORKS if (path := folder / name / CONFIG_FILE).exists()), None)
    if found is None:
        raise UserError(f"{folder} holds no run: name a folder with {' or '.join(FRAMEWORKS)} in it")
    config = TrainConfig.from_json(found)
    data_dir = options.data_dir or recorded_data_dir(folder)
    dataset = load_dataset(config.dataset, data_dir, train_size=config.train_size, image_size=config.image_size)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    check_same_data(dataset, folder)
    show_report(folder, dataset, stage_console(), image_size=config.image_size)
    return 0


def show_report(folder: Path, dataset: Dataset, console: Console, *, image_size: int | None = None) -> None:
    """Write report.html, report.md and comparison.json into `folder`, and print the summary table."""
    from comparison.report.write import print_summary, write_report

    images = np.concatenate([dataset.test_images[:NUM_REAL_IMAGES], dataset.train_images[:NUM_REAL_IMAGES]])
    # A set smaller than the panel is shown more than once.
    real_images = images[np.arange(NUM_REAL_IMAGES) % len(images)]
    comparison = write_report(folder, fit_images(real_images, image_size or images.shape[1]), dataset.train_images)
    print_summary(comparison, console)
