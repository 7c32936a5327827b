"""The series of a run, read back: losses step by step, means and sample grids epoch by epoch."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.config import MAX_IMAGE_SIZE
from common.records.folder import LOSSES_HEADER, NUM_PICTURES
from common.records.schema import (
    MAX_MAGNITUDE,
)
from common.safe_read import one_line, read_bounded, read_npz

MAX_CSV_BYTES = 2**28  # of 3 million steps
MAX_COUNT = 2**53


def read_losses(path: Path) -> dict[str, np.ndarray]:
    """One array a column of losses.csv, a loss beyond 1e15 as NaN; damage raises ValueError.

    Empty if a column has no number at all: a run that was lost at its first step has nothing to draw.
    """
    columns = _read_columns(path)
    if not columns:
        return {}
    if tuple(columns) != LOSSES_HEADER:
        raise ValueError(f"{path.name} has the columns {one_line(', '.join(columns))}")
    steps, epochs = columns["step"], columns["epoch"]
    are_counts = _are_counts(steps) and _are_counts(epochs)
    if not are_counts or (np.diff(steps) != 1).any() or (np.diff(epochs) < 0).any():
        raise ValueError(f"{path.name} does not count its steps one by one")
    measured = {name: np.where(np.abs(column) <= MAX_MAGNITUDE, column, np.nan) for name, column in columns.items()}
    if any(np.isnan(column).all() for column in measured.values()):
        return {}
    return {**measured, "step": steps, "epoch": epochs}


def read_epochs(path: Path) -> dict[str, np.ndarray]:
    """One array a column of epochs.csv, of which the report needs `num_images`; damage raises ValueError."""
    columns = _read_columns(path)
    if columns and not ("num_images" in columns and _are_counts(columns["num_images"])):
        raise ValueError(f"{path.name} has no column num_images, or no counts in it")
    return columns


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    content = read_bounded(path, limit=MAX_CSV_BYTES).decode("utf-8")
    try:
        header, *rows = csv.reader(io.StringIO(content, newline=""))
    except csv.Error as error:
        raise ValueError(f"{path.name} is no CSV file ({error})") from None
    if not header or len(set(header)) != len(header):
        raise ValueError(f"{path.name} has no header, or a column twice")
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path.name} has lines of different lengths")
    values = np.array(rows, dtype=np.float64).reshape(-1, len(header))
    return dict(zip(header, values.T, strict=True))


def _are_counts(values: np.ndarray) -> bool:
    """Whole numbers from 1 that float64 can tell apart; NaN is none."""
    return bool(((values >= 1) & (values <= MAX_COUNT) & (values == np.floor(values))).all())


@dataclass(frozen=True)
class Progress:
    """The grids that a run recorded."""

    epochs: np.ndarray  # (P,)
    images: np.ndarray  # uint8 (P, 64, S, S[, 3])


def read_progress(path: Path) -> Progress:
    """What progress.npz holds, S at most 256, and nothing if there is none; damage raises ValueError."""
    if not path.exists():
        return Progress(np.zeros(0, np.int64), np.zeros((0, NUM_PICTURES, 1, 1), np.uint8))
    arrays = read_npz(path, {"epochs": np.integer, "images": np.uint8})
    epochs, images = arrays["epochs"], arrays["images"]
    side = images.shape[2:3]
    shapes = ((NUM_PICTURES, *side, *side), (NUM_PICTURES, *side, *side, 3))
    is_picture = images.shape[1:] in shapes and 1 <= side[0] <= MAX_IMAGE_SIZE
    if epochs.shape != images.shape[:1] or not is_picture:
        raise ValueError(f"{path.name} has epochs {epochs.shape} and images {images.shape}")
    return Progress(epochs, images)
