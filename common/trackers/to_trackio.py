"""Trackio: a project for the comparison with a run for each framework, in a SQLite file; nothing is uploaded."""

import math
import os
from pathlib import Path

from common.trackers import Logged


def write(place: Path, run: Logged) -> None:
    """Scalars and grids by the step, the config, and the final metrics below `final/`."""
    os.environ["TRACKIO_DIR"] = str(place)  # it is read when trackio is imported
    import trackio  # pyright: ignore[reportMissingImports]

    tracked = trackio.init(
        project=run.comparison,
        name=run.framework,
        config={**run.config, "framework": run.framework},
        embed=False,
        auto_log_cpu=False,
        auto_log_gpu=False,
    )
    steps = {int(row["step"]): row for row in run.scalars}
    for step in sorted({*steps, *run.grids}):
        values = {name: value for name, value in steps.get(step, {}).items() if name != "step" and math.isfinite(value)}
        pictures = {"samples": trackio.Image(run.grids[step])} if step in run.grids else {}
        tracked.log({**values, **pictures}, step=step)
    last = int(run.scalars[-1]["step"]) if run.scalars else 0
    tracked.log({f"final/{name}": value for name, value in run.metrics.items()}, step=last)
    tracked.finish()
