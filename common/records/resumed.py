"""The records of a run that goes on, up to the step it goes on from; later ones are written anew, so never read."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.errors import UserError
from common.networks.layers import Architecture
from common.records.folder import LOSSES_HEADER, NUM_PICTURES
from common.safe_read import one_line, open_bounded, read_npz

MAX_LOSSES_BYTES = 2**30
MAX_ROW_BYTES = 200  # two integers of 64 bits and four floats with every digit


def read_losses(path: Path, *, last_step: int) -> list[tuple[float, ...]]:
    """Rows of losses.csv up to `last_step`, one a step; none at all of a run that began there."""
    rows: list[tuple[float, ...]] = []
    try:
        with open_bounded(path, limit=MAX_LOSSES_BYTES) as file:
            header = _next_row(file)
            if tuple(header) != LOSSES_HEADER:
                raise ValueError(f"its columns are {', '.join(header)}")
            while (not rows or rows[-1][0] < last_step) and (cells := _next_row(file)):
                row = _parse_row(cells)
                if row[0] > last_step:
                    break
                if rows and row[0] != rows[-1][0] + 1:
                    raise ValueError(f"step {row[0]} follows step {rows[-1][0]}")
                rows.append(row)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{one_line(path)} cannot be read ({one_line(error)}): the run cannot be resumed") from None
    if rows and rows[-1][0] < last_step:
        raise UserError(f"{one_line(path)} lacks steps up to {last_step}: name the checkpoint alone, elsewhere")
    return rows


def read_progress(path: Path, architecture: Architecture, *, last_epoch: int) -> list[np.ndarray]:
    """The sample grids' images up to `last_epoch`; none of a run that has made none yet."""
    if not path.exists():
        return []
    size, channels = architecture.image_size, architecture.image_channels
    expected = (NUM_PICTURES, size, size, *((channels,) if channels > 1 else ()))
    try:
        arrays = read_npz(path, {"epochs": np.integer, "images": np.uint8})
        epochs, images = arrays["epochs"], arrays["images"]
        first = last_epoch + 1 - int((epochs <= last_epoch).sum())
        if images.shape != (*epochs.shape, *expected) or list(epochs) != list(range(first, first + len(epochs))):
            raise ValueError(f"it has epochs {epochs.shape} and images {images.shape}")
    except ValueError as error:
        raise UserError(f"{one_line(path)} cannot be read ({one_line(error)}): the run cannot be resumed") from None
    return list(images[: last_epoch + 1 - first])


def _next_row(file: BinaryIO) -> list[str]:
    """The cells of the next line; none at the end of the file."""
    line = file.readline(MAX_ROW_BYTES + 1)
    if len(line) > MAX_ROW_BYTES:
        raise ValueError("a line of it is too long")
    return line.decode("ascii").rstrip("\r\n").split(",") if line else []


def _parse_row(cells: list[str]) -> tuple[float, ...]:
    if len(cells) != len(LOSSES_HEADER):
        raise ValueError(f"a line of it has {len(cells)} cells")
    step, epoch = int(cells[0]), int(cells[1])
    if not 1 <= epoch <= step:
        raise ValueError(f"it says that step {step} is in epoch {epoch}")
    return (step, epoch, *map(float, cells[2:]))
