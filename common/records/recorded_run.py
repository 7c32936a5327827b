"""One framework's run folder, read back for the report; whatever an unfinished run did not write is empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.config import MAX_IMAGE_SIZE
from common.errors import UserError
from common.records.folder import FRAMEWORK_NAMES, read_json
from common.records.schema import (
    ENVIRONMENT,
    METRICS,
    OPTIONAL_METRICS,
    STATUS,
    check_config,
    check_fields,
    check_timing,
)
from common.records.series import read_epochs, read_losses, read_progress
from common.safe_read import one_line, read_npz


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


def read_shown_samples(path: Path, evaluation: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Index to image, uint8 (S, S), S at most 256; empty without the file, which is large and may be deleted.

    Any other file, and an index that is not in it, raises ValueError.
    """
    named = [index for examples in evaluation.get("class_examples", ()) for index in examples]
    named += [pair["sample"] for pair in evaluation.get("nearest_neighbours", ())]
    if not named or not path.exists():
        return {}
    try:
        images = read_npz(path, {"images": np.uint8})["images"]
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not 1 <= images.shape[1] <= MAX_IMAGE_SIZE:
        raise ValueError(f"{path.name} has images {images.shape}")
    if max(named) >= len(images):
        raise ValueError(f"metrics.json names sample {max(named)}, but {path.name} has {len(images)}")
    return {index: images[index].copy() for index in named}  # a view would keep all of them in memory


Runs = Mapping[str, RecordedRun]
