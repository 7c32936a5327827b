"""One framework's run folder, read back for the report; whatever an unfinished run did not write is empty."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.animation import read_progress
from common.errors import UserError
from common.records import FRAMEWORK_NAMES, LOSSES_HEADER
from common.untrusted import MAX_JSON_BYTES, one_line, parse_json, read_bounded
from comparison.metrics_schema import METRICS, OPTIONAL_METRICS
from comparison.record_schema import (
    ENVIRONMENT,
    MAX_MAGNITUDE,
    STATUS,
    check_config,
    check_fields,
    check_timing,
)
from comparison.shown_samples import read_shown_samples

MAX_CSV_BYTES = 2**28  # of 3 million steps
MAX_COUNT = 2**53


@dataclass(frozen=True)
class RecordedRun:
    """The records of one run; `losses` and `epochs` hold one array per column of their CSV file."""

    framework: str  # a key of FRAMEWORK_NAMES
    config: dict[str, Any]
    environment: dict[str, Any]
    status: dict[str, Any]
    timing: dict[str, Any]
    losses: dict[str, np.ndarray]
    epochs: dict[str, np.ndarray]
    progress_epochs: np.ndarray  # (P,)
    progress_images: np.ndarray  # uint8 (P, 64, S, S[, 3])
    evaluation: dict[str, Any]  # metrics.json
    shown_samples: dict[int, np.ndarray]  # uint8 (S, S), by index: those of samples.npz that the evaluation names

    @property
    def name(self) -> str:
        """The framework's name as a reader knows it."""
        return FRAMEWORK_NAMES[self.framework]

    @property
    def num_steps(self) -> int:
        """Steps whose losses are on record."""
        return len(self.losses.get("step", ()))

    @property
    def steady_chunks(self) -> list[dict[str, Any]]:
        """The chunks that count for the speed: without the first, which compiles, and without short last ones."""
        chunks = self.timing.get("chunks", [])[1:]
        return [chunk for chunk in chunks if chunk["num_steps"] == self.timing["chunk_size"]] or chunks


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file, or an empty one if there is no such file; anything else raises UserError."""
    if not path.exists():
        return {}
    try:
        return parse_json(read_bounded(path, limit=MAX_JSON_BYTES))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{one_line(path)} is damaged ({one_line(error)})") from None


def read_run(folder: Path, framework: str) -> RecordedRun | None:
    """None if the run ended before it had recorded what it was going to do; damaged records raise UserError."""
    try:
        return _read_run(folder, framework)
    except ValueError as error:
        raise UserError(
            f"{one_line(folder)} holds damaged records ({one_line(error)}): train this half again"
        ) from None


def _read_run(folder: Path, framework: str) -> RecordedRun | None:
    config, environment = read_json(folder / "config.json"), read_json(folder / "environment.json")
    if status := read_json(folder / "status.json"):
        check_fields(status, "status.json", STATUS)
    if not config or not environment:
        return None
    check_config(config)
    check_fields(environment, "environment.json", ENVIRONMENT)
    check_timing(timing := read_json(folder / "timing.json"))
    if evaluation := read_json(folder / "metrics.json"):
        check_fields(evaluation, "metrics.json", METRICS, OPTIONAL_METRICS)
    progress = read_progress(folder / "progress.npz")
    return RecordedRun(
        framework=framework,
        config=config,
        environment=environment,
        status=status,
        timing=timing,
        losses=read_losses(folder / "losses.csv"),
        epochs=read_epochs(folder / "epochs.csv"),
        progress_epochs=progress.epochs,
        progress_images=progress.images,
        evaluation=evaluation,
        shown_samples=read_shown_samples(folder / "samples.npz", evaluation),
    )


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
