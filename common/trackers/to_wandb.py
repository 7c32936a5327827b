"""Weights & Biases, offline: a run a framework, in one group; only `wandb sync` takes it to a server."""

import math
from pathlib import Path

import wandb  # pyright: ignore[reportMissingImports]

from common.trackers import Logged


def write(place: Path, run: Logged) -> None:
    """Scalars and grids by the step, the config, and the final metrics as the run's summary."""
    with wandb.init(
        project="dcgan-twins",
        group=run.comparison,
        name=f"{run.comparison}-{run.framework}",
        config={**run.config, "framework": run.framework},
        dir=place,
        mode="offline",
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, save_code=False, disable_git=True),
    ) as tracked:
        steps = {int(row["step"]): row for row in run.scalars}
        for step in sorted({*steps, *run.grids}):
            values = {name: value for name, value in steps.get(step, {}).items() if math.isfinite(value)}
            pictures = {"samples": wandb.Image(run.grids[step])} if step in run.grids else {}
            tracked.log({**values, **pictures}, step=step)
        tracked.summary.update({f"final/{name}": value for name, value in run.metrics.items()})
