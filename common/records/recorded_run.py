"""One framework's run folder, read back for the report; whatever an unfinished run did not write is empty."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from common.config import MAX_IMAGE_SIZE
from common.errors import UserError
from common.records import folder as names
from common.records import series
from common.records.bounds import MAX_MAGNITUDE
from common.records.folder import FRAMEWORK_NAMES, read_json
from common.records.schema import check_config
from common.safe_read import one_line, read_npz

# A record may be anyone's: beyond these, a quotient of two speeds is none that a record can hold.
SHORTEST_SECONDS_PER_IMAGE, LONGEST_SECONDS_PER_IMAGE = 1e-9, 1e6


@dataclass(frozen=True)
class RecordedRun:
    """The records of one run."""

    framework: str  # a key of FRAMEWORK_NAMES
    config: dict[str, Any]
    environment: dict[str, Any]
    status: dict[str, Any]
    timing: dict[str, Any]
    losses: dict[str, np.ndarray]  # by column of losses.csv
    epochs: list[series.EpochsRow]
    progress: series.Progress
    evaluation: dict[str, Any]  # metrics.json
    shown_samples: dict[int, np.ndarray]  # uint8 (S, S[, 3]), by index: those of samples.npz that the evaluation names

    @property
    def name(self) -> str:
        """The framework's name as a reader knows it."""
        return FRAMEWORK_NAMES[self.framework]

    @property
    def num_steps(self) -> int:
        """Steps whose losses are on record."""
        return len(self.losses.get("step", ()))

    @property
    def steady_chunks(self) -> Sequence[series.Chunk]:
        """The chunks that count for the speed."""
        chunks = TypeAdapter(list[series.Chunk]).validate_python(self.timing.get("chunks", []))
        return series.steady_chunks(chunks, self.timing.get("chunk_size", 0))

    @property
    def steady_chunks_by_epoch(self) -> dict[int, list[series.Chunk]]:
        """The steady chunks of each epoch; those of a run whose losses are lost are in none."""
        epoch_of = dict(zip(self.losses.get("step", ()), self.losses.get("epoch", ()), strict=True))
        found = defaultdict(list)
        for chunk in self.steady_chunks:
            if chunk.step in epoch_of:
                found[int(epoch_of[chunk.step])].append(chunk)
        return found

    @property
    def round_speeds(self) -> dict[str, float]:
        """Images/s of the median steady chunk of an epoch, by the round in which it had its turn."""
        seconds_per_image = {
            epoch: statistics.median(chunk.seconds / (chunk.num_steps * self.config["batch_size"]) for chunk in chunks)
            for epoch, chunks in self.steady_chunks_by_epoch.items()
        }
        return {
            epoch["round_began_at"]: 1 / seconds_per_image[epoch["epoch"]]
            for epoch in self.timing.get("epochs", ())
            if epoch.get("round_began_at")
            and SHORTEST_SECONDS_PER_IMAGE < seconds_per_image.get(epoch["epoch"], 0) < LONGEST_SECONDS_PER_IMAGE
        }


def read_run(folder: Path, framework: str) -> RecordedRun | None:
    """None if the run ended before it had recorded what it was going to do; damaged records raise UserError."""
    config, environment, status = (
        read_json(folder / name) for name in (names.CONFIG_FILE, names.ENVIRONMENT_FILE, names.STATUS_FILE)
    )
    if not config or not environment:
        return None
    try:
        check_config(config)
        evaluation = read_json(folder / names.METRICS_FILE)
        return RecordedRun(
            framework=framework,
            config=config,
            environment=environment,
            status=status,
            timing=read_json(folder / names.TIMING_FILE),
            losses=losses_by_column(series.read_losses(folder / names.LOSSES_FILE)),
            epochs=series.read_epochs(folder / names.EPOCHS_FILE),
            progress=series.read_progress(folder / names.PROGRESS_FILE),
            evaluation=evaluation,
            shown_samples=read_shown_samples(folder / names.SAMPLES_FILE, evaluation),
        )
    except UserError:
        raise
    except ValueError as error:
        raise UserError(
            f"{one_line(folder)} holds damaged records ({one_line(error)}): train this half again"
        ) from None


def losses_by_column(rows: Sequence[series.LossesRow]) -> dict[str, np.ndarray]:
    """What can be drawn: a loss beyond 1e15 is NaN, and a run that was lost at its first step has nothing."""
    values = np.array(rows, np.float64).reshape(-1, len(series.LOSSES_HEADER))
    columns = dict(zip(series.LOSSES_HEADER, values.T, strict=True))
    drawn = {name: np.where(np.abs(column) <= MAX_MAGNITUDE, column, np.nan) for name, column in columns.items()}
    return {} if any(np.isnan(column).all() for column in drawn.values()) else drawn


def read_shown_samples(path: Path, evaluation: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Index to image, uint8 (S, S[, 3]), S at most 256; empty without the file, which is large and may be deleted.

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
    channels = ((), (3,)) if evaluation.get("protocol", {}).get("features") else ((),)  # digits are grey
    is_picture = images.ndim in (3, 4) and images.shape[3:] in channels and images.shape[1] == images.shape[2]
    if not is_picture or not 1 <= images.shape[1] <= MAX_IMAGE_SIZE:
        raise ValueError(f"{path.name} has images {images.shape}")
    if max(named) >= len(images):
        raise ValueError(f"metrics.json names sample {max(named)}, but {path.name} has {len(images)}")
    return {index: images[index].copy() for index in named}  # a view would keep all of them in memory


Runs = Mapping[str, RecordedRun]
