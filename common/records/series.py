"""The series of a run, and the one reader of each: losses by the step, means and sample grids by the epoch, chunks."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field, FiniteFloat, TypeAdapter, ValidationError

from common.config import MAX_IMAGE_SIZE
from common.contract import StepMetrics
from common.records.bounds import Count, NonNegative, Seconds, Text
from common.safe_read import one_line, read_bounded, read_npz

MAX_CSV_BYTES = 2**28  # of 3 million steps
NUM_PICTURES = 64  # in a sample grid
SHORTEST_SECONDS = 1.0  # of chunks that are asked for how busy the machine was
Number = Annotated[int, Field(ge=1)]
Value = Annotated[FiniteFloat | None, BeforeValidator(lambda text: None if text == "" else text)]
Row = TypeVar("Row", bound=NamedTuple)


class LossesRow(NamedTuple):
    """A step of losses.csv; a loss beyond all numbers is NaN or infinite."""

    step: Number
    epoch: Number
    discriminator_loss: float
    generator_loss: float
    real_score: float
    fake_score: float


class EpochQuality(NamedTuple):
    """The quick score after an epoch, and what real images score; None where there is no such value."""

    frechet_distance: Value = None
    kid: Value = None
    mnist_score: Value = None  # of digits alone
    frechet_distance_floor: Value = None


class EpochsRow(NamedTuple):
    """An epoch of epochs.csv: its last step, the images of its steps, the means over them, and the quick score."""

    epoch: Number
    step: Number
    num_images: Number
    discriminator_loss: float
    generator_loss: float
    real_score: float
    fake_score: float
    # Older runs have none of these.
    frechet_distance: Value = None
    kid: Value = None
    mnist_score: Value = None
    frechet_distance_floor: Value = None

    @property
    def quality(self) -> EpochQuality:
        """The columns of the quick score."""
        return EpochQuality(*self[-len(EpochQuality._fields) :])


LOSSES_HEADER, EPOCHS_HEADER = LossesRow._fields, EpochsRow._fields
assert LOSSES_HEADER[2:] == StepMetrics._fields
assert EPOCHS_HEADER[3:] == StepMetrics._fields + EpochQuality._fields


@dataclass(frozen=True)
class Chunk:
    """How long one `train_chunk` took, from the call until the device was idle."""

    step: Count  # its first step, counted from 1
    num_steps: Count
    seconds: NonNegative
    # CPU time meanwhile, which older runs did not record; None where the system does not show it.
    cpu_seconds: Seconds = None  # of the process
    busy_seconds: Seconds = None  # of the cores that it may use, whoever used them
    stolen_seconds: Seconds = None  # the part of it that a hypervisor gave to other machines


@dataclass(frozen=True)
class EpochTiming:
    """How an epoch's time was spent; only of epochs that this process finished."""

    epoch: Count
    training_seconds: NonNegative
    data_seconds: NonNegative
    evaluation_seconds: NonNegative
    images_per_second: NonNegative
    round_began_at: Text | None = None  # the same of both frameworks' epochs that were trained in turn


@dataclass(frozen=True)
class Progress:
    """The sample grids that a run recorded, of one epoch after the other."""

    epochs: np.ndarray  # (P,)
    images: np.ndarray  # uint8 (P, 64, S, S[, 3])

    def up_to(self, epoch: int, *, image_shape: tuple[int, ...]) -> list[np.ndarray]:
        """The images of each grid until this epoch; ValueError unless that of the epoch itself is there."""
        if not len(self.epochs):
            return []
        is_there = self.epochs[0] - 1 <= epoch <= self.epochs[-1]
        if not is_there or self.images.shape[2:] != image_shape:
            held = f"epochs {self.epochs[0]} to {self.epochs[-1]} and images of {self.images.shape[2:]}"
            raise ValueError(
                f"the sample grids cannot be read up to epoch {epoch}: there are {held}, not {image_shape}"
            )
        return list(self.images[self.epochs <= epoch])


def steady_chunks(chunks: Sequence[Chunk], chunk_size: int) -> Sequence[Chunk]:
    """The chunks that count for the speed: not the first of their length, which may compile, and no short ones."""
    first = next((chunk.step for chunk in chunks if chunk.num_steps == chunk_size), None)
    return [c for c in chunks[1:] if c.num_steps == chunk_size and c.step != first] or chunks[1:]


def cores_used_by_others(chunks: Sequence[Chunk]) -> float | None:
    """How many cores other programs, the kernel and other machines used meanwhile, on average over the chunks' time.

    None where that is not on record, where a system shows less than our own use, as a sandbox's zeros do, and where
    the chunks are too short together for clocks that tick every 10 ms.
    """
    shown = [(chunk.seconds, chunk.cpu_seconds, chunk.busy_seconds) for chunk in chunks]
    known = [(seconds, own, busy) for seconds, own, busy in shown if own is not None and busy is not None]
    seconds, own, busy = (sum(column) for column in zip(*known, strict=True)) if known else (0, 0, 0)
    if seconds < SHORTEST_SECONDS or busy < own / 2:
        return None
    return max(busy - own, 0.0) / seconds


def read_losses(path: Path) -> list[LossesRow]:
    """The steps on record, counted one by one, or none if there is no such file; damage raises ValueError."""
    rows = _read_rows(path, LossesRow)
    for row, following in pairwise(rows):
        if following.step != row.step + 1 or following.epoch < row.epoch:
            raise ValueError(f"{path.name} cannot be read (step {following.step} follows step {row.step})")
    if any(row.epoch > row.step for row in rows):
        raise ValueError(f"{path.name} cannot be read (it has more epochs than steps)")
    return rows


def read_epochs(path: Path) -> list[EpochsRow]:
    """The epochs on record, or none if there is no such file; damage raises ValueError."""
    return _read_rows(path, EpochsRow)


def read_progress(path: Path) -> Progress:
    """What progress.npz holds, S at most 256, and nothing if there is none; damage raises ValueError."""
    if not path.exists():
        return Progress(np.zeros(0, np.int64), np.zeros((0, NUM_PICTURES, 1, 1), np.uint8))
    try:
        epochs, images = read_npz(path, {"epochs": np.integer, "images": np.uint8}).values()
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read ({one_line(error)})") from None
    side = images.shape[2:3]
    shapes = ((NUM_PICTURES, *side, *side), (NUM_PICTURES, *side, *side, 3))
    is_picture = images.shape[1:] in shapes and 1 <= side[0] <= MAX_IMAGE_SIZE
    if epochs.shape != images.shape[:1] or not is_picture or (np.diff(epochs) != 1).any():
        raise ValueError(f"{path.name} cannot be read (it has epochs {epochs.shape} and images {images.shape})")
    return Progress(epochs, images)


def _read_rows(path: Path, kind: type[Row]) -> list[Row]:
    if not path.exists():
        return []
    try:
        text = read_bounded(path, limit=MAX_CSV_BYTES).decode("ascii")
        header, *rows = csv.reader(io.StringIO(text, newline="")) if text else [[]]
        num_required = len(kind._fields) - len(kind._field_defaults)
        if tuple(header) != kind._fields[: max(len(header), num_required)]:
            raise ValueError(f"its columns are {', '.join(header)}")
        if any(len(row) != len(header) for row in rows):
            raise ValueError(f"its rows do not all have {len(header)} columns")
        return TypeAdapter(list[kind]).validate_python(rows)  # pyright: ignore[reportInvalidTypeForm]
    except ValidationError as error:
        line, held = 2 + int(error.errors()[0]["loc"][0]), error.errors()[0]["input"]
        raise ValueError(f"{path.name} cannot be read (its line {line} holds {one_line(ascii(held))})") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path.name} cannot be read ({one_line(error)})") from None
