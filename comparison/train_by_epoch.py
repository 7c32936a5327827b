"""Training that is scored after every epoch: what quality costs in time, for one framework."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.records.folder import CONFIG_FILE, METRICS_FILE, TIMING_FILE, read_json

SCORING = ("--quick-scoring", "--skip-epoch-quality")  # each process scores the one epoch that it ends with


class Epoch(NamedTuple):
    """One epoch: its training without what the first chunk took beyond a later one, that extra, and the quick score."""

    epoch: int
    training_seconds: float
    first_chunk_extra_seconds: float
    images_per_second: float
    quality: dict[str, float]  # of 2,000 samples; empty if they could not be scored
    floor: dict[str, float]  # what real digits score


def train_epochwise(
    framework: str,
    flags: Sequence[str],
    folder: Path,
    *,
    device_flags: Sequence[str] = (),
    num_epochs: int,
    run: Callable[[list[str]], None],
) -> Iterator[Epoch]:
    """A process an epoch, into `folder`, a run's; `run` starts a command and returns once it has succeeded.

    A run that was resumed is, to the last bit, one that never stopped. An epoch
    must have more than one chunk, or nothing tells compilation from training.
    """
    for epoch in range(1, num_epochs + 1):
        start = [*flags, f"--output={folder.parent}"] if epoch == 1 else [f"--resume={folder}"]
        run([sys.executable, "-m", f"{framework}_impl", *start, *device_flags, f"--epochs={epoch}", *SCORING])
        timing = read_json(folder / TIMING_FILE)
        speed = timing["steady_images_per_second"]["median"]
        first_chunk_extra_seconds = first_chunk_extra(timing, batch_size=read_json(folder / CONFIG_FILE)["batch_size"])
        metrics = read_json(folder / METRICS_FILE).get("metrics", {})
        yield Epoch(
            epoch=epoch,
            training_seconds=timing["training_seconds"] - first_chunk_extra_seconds,
            first_chunk_extra_seconds=first_chunk_extra_seconds,
            images_per_second=speed,
            quality={name: metric["value"] for name, metric in metrics.items()},
            floor={name: metric["floor"] for name, metric in metrics.items()},
        )


def first_chunk_extra(timing: dict[str, Any], *, batch_size: int) -> float:
    """What a process's first chunk took beyond a later one of as many steps."""
    first = timing["chunks"][0]
    usual = first["num_steps"] * batch_size / timing["steady_images_per_second"]["median"]
    return max(first["seconds"] - usual, 0.0)
