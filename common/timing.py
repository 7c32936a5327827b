"""What timing.json says of a training loop."""

import statistics
from dataclasses import asdict
from typing import Any

from common.config import TrainConfig
from common.loop import CHUNK_STEPS
from common.training_log import TrainingLog


def summarise_timing(log: TrainingLog, config: TrainConfig, images_per_epoch: int) -> dict[str, Any]:
    """What timing.json says of the loop; steady state is every full chunk after the first, which compiles."""
    steady = [chunk for chunk in log.chunks[1:] if chunk.num_steps == CHUNK_STEPS] or log.chunks[1:]
    speeds = sorted(chunk.num_steps * config.batch_size / chunk.seconds for chunk in steady)
    summary: dict[str, Any] = {
        "resumed_at_step": log.resumed_at_step,
        "first_chunk_seconds": log.chunks[0].seconds,
        "chunk_size": CHUNK_STEPS,
        "chunks": [asdict(chunk) for chunk in log.chunks],
        "training_seconds": log.training_seconds,
        "data_seconds": log.data_seconds,
        "evaluation_seconds": log.evaluation_seconds,
        "checkpoint_seconds": log.checkpoint_seconds,
        "checkpoint_fraction": log.checkpoint_seconds / log.wall_seconds,
        "epochs": [asdict(timing) for timing in log.epoch_timings],
        "loop_overhead_fraction": log.loop_overhead_fraction,
        "steady_images_per_second": None,
        "seconds_per_epoch": None,
    }
    if speeds:  # a run of a single chunk has no steady state
        median = statistics.median(speeds)
        summary["steady_images_per_second"] = {"median": median, "low": speeds[0], "high": speeds[-1]}
        summary["seconds_per_epoch"] = images_per_epoch / median
    return summary
