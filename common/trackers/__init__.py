"""A run's records for a tool that shows many runs: one adapter a file, imported only if it is asked for.

A run is logged when it has ended, from what it recorded: no tracker runs while a clock does. Nothing leaves the
machine.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.pictures.compose import image_grid
from common.records.recorded_run import RecordedRun, read_run

TRACKERS = ("tensorboard", "trackio", "wandb", "mlflow")
HOW_TO_VIEW = {
    "tensorboard": "tensorboard --logdir {place}",
    "trackio": "TRACKIO_DIR={place} trackio show",
    "wandb": "wandb sync {place}/wandb/offline-run-*",
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{place}/mlflow.db",
}
LOSSES = ("discriminator_loss", "generator_loss", "real_score", "fake_score")
EPOCH_SCORES = ("frechet_distance", "kid", "mnist_score")


@dataclass(frozen=True)
class Logged:
    """All that is logged of a run."""

    comparison: str  # the name under which both frameworks' runs stand side by side
    framework: str
    config: dict[str, Any]
    scalars: list[dict[str, float]]  # one dict a step, `step` among its keys, in order
    grids: dict[int, np.ndarray]  # step -> a sample grid, uint8 (H, W[, 3])
    metrics: dict[str, float]  # of the final samples, and times


def check_tracker(name: str | None) -> None:
    """Raise UserError if a tracker is asked for that is not installed."""
    if name is not None and find_spec(name) is None:
        raise UserError(f"--log-to {name} needs what is not installed: pip install 'dcgan-twins[{name}]'")


def log_run(folder: Path, framework: str, tracker: str) -> str:
    """Log the run in `folder`, a half of a comparison; returns the command that shows what was logged."""
    run = read_run(folder, framework)
    if run is None:
        raise UserError(f"{folder} holds no run: there is nothing to log")
    place = folder.absolute().parent / tracker
    place.mkdir(exist_ok=True)
    importlib.import_module(f"common.trackers.to_{tracker}").write(place, what_is_logged(run, folder))
    return HOW_TO_VIEW[tracker].format(place=place)


def what_is_logged(run: RecordedRun, folder: Path) -> Logged:
    """Losses, scores, speeds, grids, config and final metrics, by the step."""
    scalars: dict[int, dict[str, float]] = {}
    for row in zip(*(run.losses[name] for name in ("step", *LOSSES)), strict=True) if run.losses else ():
        scalars[int(row[0])] = dict(zip(LOSSES, map(float, row[1:]), strict=True))
    for chunk in run.steady_chunks:
        speed = chunk.num_steps * run.config["batch_size"] / chunk.seconds if chunk.seconds else float("nan")
        scalars.setdefault(chunk.step + chunk.num_steps - 1, {})["images_per_second"] = speed
    for epoch in run.epochs:
        found = {name: value for name in EPOCH_SCORES if (value := getattr(epoch, name)) is not None}
        scalars.setdefault(epoch.step, {}).update(found)
    step_of = {epoch.epoch: epoch.step for epoch in run.epochs} | {0: 0}
    return Logged(
        comparison=folder.absolute().parent.name,
        framework=run.framework,
        config=run.config,
        scalars=[{"step": step, **values} for step, values in sorted(scalars.items())],
        grids={
            step_of[int(epoch)]: image_grid(images, num_columns=8)
            for epoch, images in zip(run.progress.epochs, run.progress.images, strict=True)
            if int(epoch) in step_of
        },
        metrics=dict(_final(run)),
    )


def _final(run: RecordedRun) -> Iterator[tuple[str, float]]:
    for name, metric in run.evaluation.get("metrics", {}).items():
        yield name, float(metric["value"])
        if metric.get("floor") is not None:
            yield f"{name}_floor", float(metric["floor"])
    for name, value in run.timing.items():
        if name.endswith(("_seconds", "_bytes", "_fraction")) and isinstance(value, int | float):
            yield name, float(value)
    if speed := run.timing.get("steady_images_per_second"):
        yield "steady_images_per_second", float(speed["median"])
