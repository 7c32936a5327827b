"""One framework's run folder, read back for the report; whatever an unfinished run did not write is empty."""

import csv
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.run import FRAMEWORK_NAMES


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
    """The object in the file, or an empty one if there is no such file."""
    return json.loads(path.read_text()) if path.exists() else {}


def read_run(folder: Path, framework: str) -> RecordedRun | None:
    """None if the run ended before it had recorded what it was going to do; damaged records raise UserError."""
    try:
        return _read_run(folder, framework)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{folder} holds damaged records ({error}): train this half again") from None


def _read_run(folder: Path, framework: str) -> RecordedRun | None:
    config, environment = read_json(folder / "config.json"), read_json(folder / "environment.json")
    if not config or not environment:
        return None
    progress_epochs, progress_images = _read_progress(folder / "progress.npz")
    return RecordedRun(
        framework=framework,
        config=config,
        environment=environment,
        status=read_json(folder / "status.json"),
        timing=read_json(folder / "timing.json"),
        losses=_read_columns(folder / "losses.csv"),
        epochs=_read_columns(folder / "epochs.csv"),
        progress_epochs=progress_epochs,
        progress_images=progress_images,
        evaluation=read_json(folder / "metrics.json"),
    )


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    values = np.array(rows, dtype=np.float64).reshape(-1, len(header))
    return dict(zip(header, values.T, strict=True))


def _read_progress(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.exists():
        return np.zeros(0, np.int64), np.zeros((0, 64, 1, 1), np.uint8)
    with np.load(path) as arrays:
        return arrays["epochs"], arrays["images"]
