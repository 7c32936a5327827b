"""Figures made of digits: grids side by side, each digit pixel a whole number of printed pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from common.data.datasets import restore_images
from common.errors import UserError
from common.pictures.compose import WHITE, image_grid
from common.pictures.drawing import DARK, Drawing
from common.records.recorded_run import RecordedRun, Runs
from common.records.schema import MAX_SHOWN

FONT_SIZE = 8
GAP = 2  # pixels between two digits
SCALE = 2  # printed pixels per pixel of a digit
EMPTY = 236  # the gray of a cell without a digit
MAX_PROGRESS_ROWS = 11
NUM_COLUMNS = MAX_SHOWN  # of every grid but that of the samples


def samples_figure(runs: Runs, real_images: np.ndarray) -> Figure:
    """Each run's last grid, all from the fixed latents, beside real images, uint8 (n >= 64, S, S[, 3])."""
    panels = {run.name: tile(run.progress.images[-1], num_columns=8) for run in runs.values()}
    return _panel_figure({**panels, "real images": tile(real_images[:64], num_columns=8)})


def progress_figure(runs: Runs) -> Figure:
    """One row an epoch (evenly chosen if there are many), one column a latent, one panel a framework."""
    num_records = min(len(run.progress.epochs) for run in runs.values())
    rows = np.unique(np.linspace(0, num_records - 1, min(num_records, MAX_PROGRESS_ROWS)).round().astype(int))
    panels = {run.name: tile(np.concatenate(run.progress.images[rows, :NUM_COLUMNS])) for run in runs.values()}
    epochs = next(iter(runs.values())).progress.epochs[rows]
    return _panel_figure(panels, row_labels=[f"epoch {epoch}" for epoch in epochs])


def classes_figure(runs: Runs) -> Figure:
    """One row a digit, one panel a framework: the samples that the evaluation names; cells beyond them are empty."""
    panels = {
        run.name: tile(np.concatenate([_row_of_cells(run, examples) for examples in run.evaluation["class_examples"]]))
        for run in runs.values()
    }
    return _panel_figure(panels, row_labels=[str(digit) for digit in range(10)])


def neighbours_figure(runs: Runs, training_images: np.ndarray) -> Figure:
    """Samples above, the training images (uint8 (M, S, S[, 3])) they are near to below, and how near."""
    size = training_images.shape[1]
    panels, captions = {}, {}
    for run in runs.values():
        pairs = run.evaluation["nearest_neighbours"]
        samples = restore_images(_row_of_cells(run, [pair["sample"] for pair in pairs]), size)
        named = [pair["training_image"] for pair in pairs]
        if max(named) >= len(training_images):
            raise UserError(f"metrics.json names training image {max(named)}, but there are {len(training_images)}")
        nearest = np.full_like(samples, EMPTY)
        nearest[: len(pairs)] = training_images[named]
        panels[run.name] = tile(np.concatenate([samples, nearest]))
        ratios = [pair["distance"] / pair["own_distance"] if pair["own_distance"] else np.inf for pair in pairs]
        captions[run.name] = [f"{ratio:.2f}" for ratio in ratios]  # below 1 is suspicious
    return _panel_figure(panels, row_labels=["sample", "training"], captions=captions)


def tile(images: np.ndarray, *, num_columns: int = NUM_COLUMNS) -> np.ndarray:
    """uint8 (n, S, S[, 3]) row by row in one picture with white gaps and no border."""
    return image_grid(images, num_columns=num_columns, gap=GAP, level=WHITE)[GAP:-GAP, GAP:-GAP]


def _row_of_cells(run: RecordedRun, indices: Sequence[int]) -> np.ndarray:
    """These samples, uint8 (MAX_SHOWN, S, S), and empty cells for those that are wanting."""
    size = next(iter(run.shown_samples.values())).shape
    cells = np.full((MAX_SHOWN, *size), EMPTY, np.uint8)
    if indices:
        cells[: len(indices)] = [run.shown_samples[index] for index in indices]
    return cells


def _panel_figure(
    panels: Mapping[str, np.ndarray],
    row_labels: Sequence[str] = (),
    captions: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Panels side by side at a whole number of printed pixels per image pixel, so that none is blurred.

    Captions stand below the columns of a panel, MAX_SHOWN at most.
    """
    space, title_height = 36, 50
    left = 32 + 15 * max(map(len, row_labels)) if row_labels else 0
    bottom = 40 if captions else 0
    height, width = (SCALE * size for size in next(iter(panels.values())).shape[:2])
    sheet = Drawing(left + len(panels) * (width + space) - space, title_height + height + bottom)
    for index, (title, image) in enumerate(panels.items()):
        x = left + index * (width + space)
        sheet.image(image.repeat(SCALE, axis=0).repeat(SCALE, axis=1), x, title_height)
        sheet.words(
            title, x + width / 2, 0.45 * title_height, size=FONT_SIZE + 1, bold=True, color=DARK, align="center"
        )
        for column, caption in enumerate((captions or {}).get(title, ())):
            at = x + (column + 0.5) * width / MAX_SHOWN
            sheet.words(caption, at, sheet.height - bottom / 2, size=FONT_SIZE, align="center")
    for row, label in enumerate(row_labels):
        y = title_height + height * (row + 0.5) / len(row_labels)
        sheet.words(label, left - 24, y, size=FONT_SIZE, align="right")
    return sheet.figure
