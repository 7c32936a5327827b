"""What is logged of a run can be read back with each tracker's own reader, both frameworks in one view."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.options import RunOptions, parse
from common.records.folder import FRAMEWORK_NAMES
from common.records.recorded_run import read_run
from common.trackers import HOW_TO_VIEW, TRACKERS, Logged, check_tracker, log_run, what_is_logged
from tests.synthetic_runs import write_comparison

NUM_STEPS, NUM_EPOCHS = 80, 2


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    return write_comparison(tmp_path / "name", steps_per_epoch=NUM_STEPS // NUM_EPOCHS, epochs=NUM_EPOCHS)


def logged(comparison: Path, framework: str) -> Logged:
    run = read_run(comparison / framework, framework)
    assert run is not None
    return what_is_logged(run, comparison / framework)


def log_both(comparison: Path, tracker: str) -> Path:
    if find_spec(tracker) is None:  # not imported here: trackio reads where to write when it is imported
        pytest.skip(f"the extra {tracker} is not installed")
    for framework in FRAMEWORK_NAMES:
        assert str(comparison / tracker) in log_run(comparison / framework, framework, tracker)
    return comparison / tracker


def test_losses_scores_speed_grids_config_and_metrics_are_logged(comparison):
    found = logged(comparison, "jax")
    assert [row["step"] for row in found.scalars] == list(range(1, NUM_STEPS + 1))
    assert all(
        {"discriminator_loss", "generator_loss", "real_score", "fake_score"} <= row.keys() for row in found.scalars
    )
    assert any("images_per_second" in row for row in found.scalars)
    assert list(found.grids) == [0, NUM_STEPS // 2, NUM_STEPS]
    assert found.config["preset"] == "dcgan32"
    assert {"frechet_distance", "frechet_distance_floor", "steady_images_per_second"} <= found.metrics.keys()
    assert found.comparison == "name"


def test_tensorboard_reads_both_frameworks_in_one_folder(comparison):
    place = log_both(comparison, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert sorted(path.name for path in place.iterdir()) == sorted(FRAMEWORK_NAMES)
    for framework in FRAMEWORK_NAMES:
        expected = logged(comparison, framework)
        events = EventAccumulator(str(place / framework), size_guidance={"images": 0, "scalars": 0}).Reload()
        losses = events.Scalars("loss/generator_loss")
        assert [event.step for event in losses] == list(range(1, NUM_STEPS + 1))
        np.testing.assert_allclose(
            [e.value for e in losses], [r["generator_loss"] for r in expected.scalars], rtol=1e-6
        )
        assert [image.step for image in events.Images("samples")] == list(expected.grids)
        [final] = events.Scalars("final/frechet_distance")
        assert math.isclose(final.value, expected.metrics["frechet_distance"], rel_tol=1e-6)
        assert b'"preset": "dcgan32"' in events.Tensors("config")[0].tensor_proto.string_val[0]
        assert events.Scalars("speed/images_per_second")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MLflow itself asks of SQLAlchemy
def test_mlflow_reads_both_frameworks_in_one_experiment(comparison):
    place = log_both(comparison, "mlflow")
    from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("name")
    runs = {run.data.params["framework"]: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == FRAMEWORK_NAMES.keys()
    for framework, run in runs.items():
        expected = logged(comparison, framework)
        history = client.get_metric_history(run.info.run_id, "generator_loss")
        assert [(m.step, m.value) for m in history] == [(r["step"], r["generator_loss"]) for r in expected.scalars]
        assert run.data.metrics["final.frechet_distance"] == expected.metrics["frechet_distance"]
        assert len(client.list_artifacts(run.info.run_id, "samples")) == len(expected.grids)


def test_trackio_reads_both_frameworks_in_one_project(comparison):
    place = log_both(comparison, "trackio")
    words = "import json; from trackio import Api, SQLiteStorage as storage; " + (
        "print(json.dumps({run.name: storage.get_logs('name', run.name) for run in Api().runs('name')}, default=str))"
    )
    result = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, env={**os.environ, "TRACKIO_DIR": str(place)}
    )
    found = json.loads(result.stdout)
    assert found.keys() == FRAMEWORK_NAMES.keys(), result.stderr
    for framework, rows in found.items():
        expected = logged(comparison, framework)
        losses = [row["generator_loss"] for row in rows if "generator_loss" in row]
        assert losses == [row["generator_loss"] for row in expected.scalars]
        assert sum("samples" in row for row in rows) == len(expected.grids)
        assert rows[-1]["final/frechet_distance"] == expected.metrics["frechet_distance"]


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file, which is a LevelDB log: wandb's own reader of it is written in Go."""
    block, position, record = 2**15, 7, b""
    while position + 7 <= len(content):
        if block - position % block < 7:  # what is left of a block has no place for a header
            position += block - position % block
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_wandb_has_both_frameworks_in_one_group(comparison):
    place = log_both(comparison, "wandb")
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportMissingImports]

    found = {}
    for path in sorted(place.glob("wandb/offline-run-*/*.wandb")):
        records = [Record.FromString(record) for record in wandb_records(path.read_bytes())]
        [run] = [record.run for record in records if record.WhichOneof("record_type") == "run"][:1]
        found[run.display_name] = run.run_group
        items = [item for record in records for item in record.history.item]
        losses = [float(i.value_json) for i in items if "generator_loss" in (i.key, *i.nested_key)]
        expected = logged(comparison, run.display_name.removeprefix("name-"))
        np.testing.assert_allclose(losses, [row["generator_loss"] for row in expected.scalars])
        assert sum("samples" in (item.key, *item.nested_key) for item in items) >= len(expected.grids)
    assert found == {f"name-{framework}": "name" for framework in FRAMEWORK_NAMES}


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(tracker, monkeypatch):
    monkeypatch.setattr("common.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"pip install 'dcgan-twins\[{tracker}\]'"):
        check_tracker(tracker)
    check_tracker(None)
    assert parse(RunOptions, [f"--log-to={tracker}"], program="").log_to == tracker
    assert tracker in HOW_TO_VIEW[tracker]
