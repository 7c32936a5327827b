"""MLflow: an experiment for the comparison with a run for each framework, in a SQLite file and a folder of pictures."""

import io
import math
import time
from pathlib import Path

import numpy as np
from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]
from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]
from PIL import Image

from common.pictures.compose import png
from common.trackers import Logged

BATCH = 500  # metrics in a call; MLflow takes 1,000 at most


def write(place: Path, run: Logged) -> None:
    """Scalars by the step, the config as parameters, grids as artifacts, the final metrics as `final.NAME`."""
    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
    found = client.get_experiment_by_name(run.comparison)
    artifacts = (place / "artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment(run.comparison, artifacts)
    run_id = client.create_run(experiment, run_name=run.framework).info.run_id
    now = int(time.time() * 1e3)
    metrics = [
        Metric(name, value, now, int(row["step"]))
        for row in run.scalars
        for name, value in row.items()
        if name != "step" and math.isfinite(value)
    ]
    metrics += [Metric(f"final.{name}", value, now, 0) for name, value in run.metrics.items()]
    parameters = [Param(name, str(value)) for name, value in {**run.config, "framework": run.framework}.items()]
    client.log_batch(run_id, params=parameters)
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + BATCH])
    for step, picture in run.grids.items():
        _log_picture(client, run_id, picture, f"samples/step_{step:06d}.png")
    client.set_terminated(run_id)


def _log_picture(client: MlflowClient, run_id: str, picture: np.ndarray, name: str) -> None:
    client.log_image(run_id, Image.open(io.BytesIO(png(picture))), artifact_file=name)
