"""What the training loop measures: losses and scores step by step, pictures epoch by epoch, and where the time went."""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from common.config import TrainConfig
from common.contract import StepMetrics
from common.records.series import Chunk, EpochQuality, EpochTiming, steady_chunks
from common.training.machine_load import ConditionsWatch

# Steps of one `train_chunk`: long enough to hide the round trip, short enough for a lively bar and a prompt Ctrl-C.
CHUNK_STEPS = 16


class PhaseTimes(dict[str, Any]):
    """Seconds of a run's phases outside the loop, by their names in timing.json; made when the run begins."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.perf_counter()

    def since_start(self) -> float:
        """Seconds from then on."""
        return time.perf_counter() - self._started

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time what is inside; a phase that fails leaves no time."""
        started = time.perf_counter()
        yield
        self[name] = time.perf_counter() - started


@dataclass
class TrainingLog:
    """Everything the loop measured; losses and pictures also from before a resumption, times only since."""

    resumed_at_step: int = 0
    chunk_steps: int = CHUNK_STEPS  # of the chunks to come
    chunks: list[Chunk] = field(default_factory=list)
    losses: list[tuple[float, ...]] = field(default_factory=list)  # rows of losses.csv
    epoch_timings: list[EpochTiming] = field(default_factory=list)
    progress_images: list[np.ndarray] = field(default_factory=list)  # one (64, S, S[, 3]) an epoch, uint8
    data_seconds: float = 0.0  # gathering batches and drawing latents
    evaluation_seconds: float = 0.0  # sample grids, checkpoints, files: what follows an epoch's last step
    checkpoint_seconds: float = 0.0  # the checkpoints' share of it
    wall_seconds: float = 0.0  # of the whole loop, without the quick scores
    epoch_quality: dict[int, EpochQuality] = field(default_factory=dict)  # by epoch, also from before a resumption
    epoch_quality_seconds: float = 0.0  # in no other time
    conditions: ConditionsWatch = field(default_factory=ConditionsWatch)

    def add_chunk(self, chunk: Chunk, metrics: StepMetrics, *, epoch: int) -> None:
        """Take in how long a chunk took, and a row of losses.csv for each of its steps."""
        self.chunks.append(chunk)
        self.losses += [
            (step, epoch, *values)
            for step, values in enumerate(zip(*(values.tolist() for values in metrics), strict=True), start=chunk.step)
        ]

    @property
    def num_steps(self) -> int:
        """Steps done so far, those before a resumption included."""
        return int(self.losses[-1][0]) if self.losses else self.resumed_at_step

    @property
    def training_seconds(self) -> float:
        """Time inside `train_chunk`, the first chunk (which compiles) included."""
        return sum(chunk.seconds for chunk in self.chunks)

    @property
    def loop_overhead_fraction(self) -> float:
        """Share of the loop's wall time that was not spent inside `train_chunk`, sample grids and files included."""
        return (self.wall_seconds - self.training_seconds) / self.wall_seconds


def epoch_rows(
    losses: list[tuple[float, ...]], batch_size: int, quality: Mapping[int, EpochQuality]
) -> list[tuple[float | None, ...]]:
    """Rows of epochs.csv: means of losses and scores over the steps on record of each epoch, and its quick score."""
    rows = []
    for epoch in dict.fromkeys(row[1] for row in losses):
        own = np.array([row for row in losses if row[1] == epoch])
        means = map(float, own[:, 2:].mean(axis=0))
        rows.append((epoch, int(own[-1, 0]), len(own) * batch_size, *means, *quality.get(int(epoch), EpochQuality())))
    return rows


def summarise_timing(log: TrainingLog, config: TrainConfig, images_per_epoch: int) -> dict[str, Any]:
    """What timing.json says of the loop; speeds are of the steady chunks alone."""
    steady = steady_chunks(log.chunks, log.chunk_steps)
    speeds = sorted(chunk.num_steps * config.batch_size / chunk.seconds for chunk in steady)
    summary: dict[str, Any] = {
        "resumed_at_step": log.resumed_at_step,
        "first_chunk_seconds": log.chunks[0].seconds,
        "chunk_size": log.chunk_steps,
        "chunks": [asdict(chunk) for chunk in log.chunks],
        "training_seconds": log.training_seconds,
        "data_seconds": log.data_seconds,
        "evaluation_seconds": log.evaluation_seconds,
        "epoch_quality_seconds": log.epoch_quality_seconds,
        "checkpoint_seconds": log.checkpoint_seconds,
        "checkpoint_fraction": log.checkpoint_seconds / log.wall_seconds,
        "epochs": [asdict(timing) for timing in log.epoch_timings],
        "conditions": log.conditions.record,
        "loop_overhead_fraction": log.loop_overhead_fraction,
        "steady_images_per_second": None,
        "seconds_per_epoch": None,
    }
    if speeds:  # a run of a single chunk has no steady state
        median = statistics.median(speeds)
        summary["steady_images_per_second"] = {"median": median, "low": speeds[0], "high": speeds[-1]}
        summary["seconds_per_epoch"] = images_per_epoch / median
    return summary
