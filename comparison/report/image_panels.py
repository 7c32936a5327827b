"""Panels made of digits: a page stacks them, a PNG has them side by side, each digit pixel a whole number of pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from common.data.datasets import restore_images
from common.errors import UserError
from common.pictures.captions import run_words, text_size
from common.pictures.compose import WHITE, image_grid
from common.pictures.drawing import DARK, DPI, Drawing, lines_of
from common.records.recorded_run import RecordedRun, Runs
from common.records.schema import MAX_SHOWN
from comparison.report.training_text import too_few_steps

COLUMN_POINTS = 8  # of the words below a column, which is no wider
GAP = 2  # pixels between two digits
SCALE = 2  # printed pixels per pixel of a digit
EMPTY = 236  # the gray of a cell without a digit
MAX_PROGRESS_ROWS = 11
NUM_COLUMNS = MAX_SHOWN  # of every grid but that of the samples
SAMPLE_COLUMNS = 8


@dataclass(frozen=True)
class Panels:
    """Pictures uint8 (H, W[, 3]) by name, and what stands around them: `captions` below the columns of each."""

    images: Mapping[str, np.ndarray]
    words: str
    row_labels: Sequence[str] = ()
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def figure(self) -> Figure:
        """All side by side at a whole number of printed pixels per image pixel, so that none is blurred."""
        height, width = (SCALE * max(image.shape[axis] for image in self.images.values()) for axis in (0, 1))
        pixels = text_size(len(self.images) * width)
        points = pixels * 72 / DPI
        space, title_height = 36, round(1.7 * pixels)
        left = round(pixels * (1 + 0.62 * max(map(len, self.row_labels)))) if self.row_labels else 0
        bottom = 40 if self.captions else 0
        whole = left + len(self.images) * (width + space) - space
        lines = lines_of(self.words, width=whole - left, size=points)
        line_height = round(1.4 * pixels)
        top_of_words = title_height + height + bottom
        sheet = Drawing(whole, top_of_words + len(lines) * line_height + space // 2)
        for index, (title, image) in enumerate(self.images.items()):
            x = left + index * (width + space)
            sheet.image(image.repeat(SCALE, axis=0).repeat(SCALE, axis=1), x, title_height)
            sheet.words(title, x + width / 2, 0.45 * title_height, size=points, bold=True, color=DARK, align="center")
            for column, caption in enumerate(self.captions.get(title, ())):
                at = x + (column + 0.5) * width / MAX_SHOWN
                sheet.words(caption, at, title_height + height + bottom / 2, size=COLUMN_POINTS, align="center")
        for row, label in enumerate(self.row_labels):
            y = title_height + height * (row + 0.5) / len(self.row_labels)
            sheet.words(label, left - pixels / 2, y, size=points, align="right")
        for number, line in enumerate(lines):
            sheet.words(line, left, top_of_words + (number + 0.7) * line_height, size=points)
        return sheet.figure


def samples_panels(runs: Runs, real_images: np.ndarray) -> Panels:
    """Each run's last grid, all from the fixed latents, beside real images, uint8 (n >= 64, S, S[, 3])."""
    images = {run.name: tile(run.progress.images[-1], num_columns=SAMPLE_COLUMNS) for run in runs.values()}
    words = f"{_model(runs)}, {_last_epochs(runs)}: the same 64 latents through each generator, beside real images."
    words = " ".join([words, *(f"{note}." for note in too_few_steps(runs, real_images)[:1])])
    return Panels({**images, "real images": tile(real_images[:64], num_columns=SAMPLE_COLUMNS)}, words)


def progress_panels(runs: Runs) -> Panels:
    """One row an epoch (evenly chosen if there are many), one column a latent, one panel a framework."""
    num_records = min(len(run.progress.epochs) for run in runs.values())
    rows = np.unique(np.linspace(0, num_records - 1, min(num_records, MAX_PROGRESS_ROWS)).round().astype(int))
    images = {run.name: tile(np.concatenate(run.progress.images[rows, :NUM_COLUMNS])) for run in runs.values()}
    epochs = next(iter(runs.values())).progress.epochs[rows]
    words = f"{_model(runs)}: a column is one latent; epoch 0 is before the first step."
    return Panels(images, words, row_labels=[f"epoch {epoch}" for epoch in epochs])


def classes_panels(runs: Runs) -> Panels:
    """One row a digit, one panel a framework: the samples that the evaluation names; cells beyond them are empty."""
    images = {
        run.name: tile(np.concatenate([_row_of_cells(run, examples) for examples in run.evaluation["class_examples"]]))
        for run in runs.values()
    }
    words = f"{_model(runs)}: samples by the digit a classifier takes them for, the first ten of each."
    return Panels(images, words, row_labels=[str(digit) for digit in range(10)])


def neighbours_panels(runs: Runs, training_images: np.ndarray) -> Panels:
    """Samples above, the training images (uint8 (M, S, S[, 3])) they are near to below, and how near."""
    size = training_images.shape[1]
    images, captions = {}, {}
    for run in runs.values():
        pairs = run.evaluation["nearest_neighbours"]
        samples = restore_images(_row_of_cells(run, [pair["sample"] for pair in pairs]), size)
        named = [pair["training_image"] for pair in pairs]
        if max(named) >= len(training_images):
            raise UserError(f"metrics.json names training image {max(named)}, but there are {len(training_images)}")
        nearest = np.full_like(samples, EMPTY)
        nearest[: len(pairs)] = training_images[named]
        images[run.name] = tile(np.concatenate([samples, nearest]))
        ratios = [pair["distance"] / pair["own_distance"] if pair["own_distance"] else np.inf for pair in pairs]
        captions[run.name] = [f"{ratio:.2f}" for ratio in ratios]  # below 1 is suspicious
    words = (
        f"{_model(runs)}: the samples nearest to a training image, and that image. Below: their distance over that "
        "image's to its own nearest neighbour; far below 1 is suspicious."
    )
    return Panels(images, words, row_labels=["sample", "training"], captions=captions)


def _model(runs: Runs) -> str:
    return run_words(next(iter(runs.values())).config)


def _last_epochs(runs: Runs) -> str:
    return " and ".join(dict.fromkeys(f"epoch {run.progress.epochs[-1]}" for run in runs.values()))


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
