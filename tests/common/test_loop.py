"""The training loop, seen from both sides: what it feeds a trainer, and what it leaves in the run folder."""

import csv
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.contract import StepMetrics, is_averaged
from common.data.datasets import fit_images
from common.data.initial_weights import initial_weights
from common.errors import RunFailedError, UserError
from common.pictures.compose import MARGIN, enlarged, image_grid
from common.records.checkpoint import load_checkpoint, save_checkpoint
from common.records.folder import RunFolder, write_atomically
from common.records.series import LOSSES_HEADER
from common.training.log import CHUNK_STEPS, Chunk, TrainingLog, summarise_timing
from common.training.loop import TrainingLoop
from common.training.start import Start
from common.training.stop_request import StopRequest
from tests.trainers import small_architecture, small_config


class Silent:
    """A progress reporter that says nothing."""

    def chunk_done(self, **_: object) -> None: ...
    def epoch_done(self, **_: object) -> None: ...


class Recorder:
    """Stands between the loop and a trainer, and hashes everything the trainer is handed."""

    def __init__(self, trainer, *, on_chunk=lambda: None):
        self.trainer, self.on_chunk = trainer, on_chunk
        self.hashes: list[str] = []
        self.num_steps = 0

    def train_chunk(self, indices, latents, decays):
        for array in (indices, latents, decays):
            self.hashes.append(hashlib.sha256(array.tobytes()).hexdigest())
        metrics = self.trainer.train_chunk(indices, latents, decays)
        self.num_steps += len(indices)
        self.on_chunk()
        return metrics

    def __getattr__(self, name):
        return getattr(self.trainer, name)


class Constant:
    """A trainer that learns nothing, at once."""

    def __init__(self, config):
        self.config = config
        self.weights = initial_weights(config, small_architecture(config))

    def train_chunk(self, indices, latents, decays):
        return StepMetrics(*np.full((4, len(indices)), 0.5))

    def generate(self, latents):
        size = self.config.image_size
        return np.tanh(latents[:, :1, None] + np.zeros((size, size), np.float32))  # each image of one level

    def discriminator_activations(self, images):
        return []

    def discriminator_gradients(self, images, *, layer, channels):
        return np.zeros(images.shape, np.float32)

    def load_weights(self, weights, average=None):
        self.weights = weights

    def export_weights(self):
        return self.weights

    def export_average(self):
        return {name: array for name, array in self.weights.items() if is_averaged(name)}

    def wait(self):
        pass


def run_loop(trainer, config, images, folder: Path, stop: StopRequest | None = None) -> TrainingLog:
    run, start = RunFolder.create(folder), Start(trainer.export_weights())
    loop = TrainingLoop(trainer, config, len(images), start, run, Silent(), StopRequest() if stop is None else stop)
    loop.run()
    return loop.log


def test_an_epoch_drops_the_last_partial_batch_and_counts_steps_through(digits, tmp_path):
    config = small_config(epochs=3)
    log = run_loop(Constant(config), config, fit_images(digits[:20], 32), tmp_path)
    assert [(row[0], row[1]) for row in log.losses] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]
    rows = list(csv.reader((tmp_path / "epochs.csv").read_text().splitlines()))
    assert [row[:3] for row in rows[1:]] == [["1", "2", "16"], ["2", "4", "16"], ["3", "6", "16"]]
    assert [timing.epoch for timing in log.epoch_timings] == [1, 2, 3]


def test_a_long_epoch_is_cut_into_chunks(digits, tmp_path):
    config = small_config(batch_size=2, epochs=1)
    log = run_loop(Constant(config), config, digits[: 2 * (2 * CHUNK_STEPS + 3)], tmp_path)
    assert [(chunk.step, chunk.num_steps) for chunk in log.chunks] == [
        (1, CHUNK_STEPS),
        (CHUNK_STEPS + 1, CHUNK_STEPS),
        (2 * CHUNK_STEPS + 1, 3),
    ]


class Counting(Constant):
    """Counts what the loop asks for: what an epoch costs, without a clock."""

    def __init__(self, config):
        super().__init__(config)
        self.num_bytes = self.num_steps = self.num_generated = 0
        self.num_exports = self.num_average_exports = 0

    def train_chunk(self, indices, latents, decays):
        self.num_bytes += sum(array.nbytes for array in (indices, latents, decays))
        self.num_steps += len(indices)
        return super().train_chunk(indices, latents, decays)

    def generate(self, latents):
        self.num_generated += len(latents)
        return super().generate(latents)

    def export_weights(self):
        self.num_exports += 1
        return super().export_weights()

    def export_average(self):
        self.num_average_exports += 1
        return super().export_average()


def test_an_epoch_costs_in_proportion_to_its_images(digits, tmp_path):
    config = small_config(batch_size=2, epochs=1)
    costs = []
    for num_chunks in (2, 4, 6):
        trainer = Counting(config)
        run_loop(trainer, config, digits[: 2 * CHUNK_STEPS * num_chunks], tmp_path / str(num_chunks))
        num_exports = (trainer.num_average_exports, trainer.num_exports)
        costs.append((trainer.num_bytes, trainer.num_steps, *num_exports, trainer.num_generated))
    first, second = (np.subtract(later, earlier) for earlier, later in itertools.pairwise(costs))
    assert (first == second).all(), "each image costs as much as the one before it"
    assert costs[1][:2] == tuple(2 * cost for cost in costs[0][:2])
    assert first.tolist()[2:] == [0, 0, 0], "weights, their average and samples are asked for once an epoch"


def test_the_run_folder_holds_losses_epochs_samples_and_the_last_two_checkpoints(digits, tmp_path):
    config = small_config(epochs=3)
    trainer = Constant(config)
    log = run_loop(trainer, config, fit_images(digits[:64], 32), tmp_path)
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LOSSES_HEADER
    assert [float(row["generator_loss"]) for row in rows] == [row[3] for row in log.losses]
    assert len((tmp_path / "epochs.csv").read_text().splitlines()) == 1 + 3
    assert [path.name for path in sorted((tmp_path / "samples").iterdir())] == [
        f"epoch_{epoch:03d}.png" for epoch in range(4)
    ]
    with np.load(tmp_path / "progress.npz") as progress:
        assert progress["images"].shape == (4, 64, 32, 32)
        last = progress["images"][-1]
    grid = enlarged(image_grid(last, num_columns=8))
    shown = np.asarray(Image.open(tmp_path / "samples" / "epoch_003.png"))
    np.testing.assert_array_equal(shown[-MARGIN - len(grid) : -MARGIN, MARGIN:-MARGIN], grid)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step_16.safetensors",
        "step_24.safetensors",
    ]
    weights, average, header = load_checkpoint(tmp_path / "checkpoints" / "step_24.safetensors")
    assert (header["step"], header["epoch"], header["config"]["preset"]) == (24, 3, "dcgan32")
    exported = trainer.export_weights()
    assert weights.keys() == exported.keys()
    for name, array in exported.items():
        np.testing.assert_array_equal(weights[name], array)
    assert average.keys() == {name for name in exported if name.startswith("generator.") and ".adam." not in name}
    assert [path.name for path in tmp_path.rglob(".*")] == [".lock"]  # no temporary file is left


class Poisoned(Constant):
    """Its generator's loss is NaN from step 11 of the run on, its discriminator's from step 12."""

    num_steps = 0

    def train_chunk(self, indices, latents, decays):
        metrics = super().train_chunk(indices, latents, decays)
        steps = self.num_steps + 1 + np.arange(len(indices))
        metrics.generator_loss[steps >= 11] = np.nan
        metrics.discriminator_loss[steps >= 12] = np.nan
        self.num_steps += len(indices)
        return metrics


def test_a_loss_that_turns_nan_stops_the_run_and_names_the_first_step_and_loss(digits, tmp_path):
    config = small_config(epochs=5)
    trainer = Poisoned(config)
    with pytest.raises(RunFailedError, match="generator_loss is nan at step 11"):
        run_loop(trainer, config, fit_images(digits[:64], 32), tmp_path)
    assert trainer.num_steps == 16
    assert not (tmp_path / "checkpoints" / "step_16.safetensors").exists()
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 17


def test_a_request_to_stop_ends_the_run_after_the_chunk_with_everything_kept(digits, tmp_path):
    config = small_config(batch_size=2, epochs=50)
    stop = StopRequest()
    trainer = Recorder(Constant(config), on_chunk=lambda: setattr(stop, "signal_number", 2))
    log = run_loop(trainer, config, digits[:200], tmp_path, stop)
    assert log.num_steps == CHUNK_STEPS
    assert (tmp_path / "checkpoints" / f"step_{CHUNK_STEPS}.safetensors").exists()
    assert json.loads((tmp_path / "status.json").read_text())["step"] == CHUNK_STEPS
    assert stop.exit_code == 130


def test_time_outside_the_trainer_is_not_counted_as_training(digits, tmp_path):
    class Slow(Constant):
        def train_chunk(self, indices, latents, decays):
            time.sleep(0.02)
            return super().train_chunk(indices, latents, decays)

    class SlowProgress(Silent):
        def chunk_done(self, **_: object) -> None:
            time.sleep(0.06)

    config = small_config(epochs=1)
    slow = Slow(config)
    start = Start(slow.export_weights())
    loop = TrainingLoop(slow, config, 64, start, RunFolder.create(tmp_path), SlowProgress())
    loop.run()
    log = loop.log
    assert 0.02 <= log.training_seconds < log.wall_seconds - 0.05
    assert log.loop_overhead_fraction == pytest.approx(1 - log.training_seconds / log.wall_seconds)


def test_steady_state_leaves_out_the_first_chunk_and_partial_chunks():
    log = TrainingLog(wall_seconds=20)
    log.chunks = [Chunk(1, 16, 10.0), Chunk(17, 16, 1.0), Chunk(33, 16, 4.0), Chunk(49, 16, 2.0), Chunk(65, 3, 0.001)]
    timing = summarise_timing(log, small_config(batch_size=10), images_per_epoch=640)
    assert timing["first_chunk_seconds"] == 10
    assert timing["steady_images_per_second"] == {"median": 80, "low": 40, "high": 160}
    assert timing["seconds_per_epoch"] == 8


def test_a_run_of_a_single_chunk_has_no_steady_state():
    log = TrainingLog(wall_seconds=2, chunks=[Chunk(1, 16, 1.0)])
    assert summarise_timing(log, small_config(), images_per_epoch=10)["steady_images_per_second"] is None


def test_a_used_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds a run"):
        RunFolder.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        RunFolder.create(tmp_path / "file" / "run")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_json("timing.json", {"total_seconds": 1})
    with pytest.raises(ValueError, match="total_seconds is nan"):
        folder.write_json("timing.json", {"total_seconds": float("nan")})
    assert json.loads((folder.path / "timing.json").read_text()) == {"total_seconds": 1}
    assert [path.name for path in folder.path.glob("*.json")] == ["timing.json"]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "absent"])
def test_a_damaged_checkpoint_is_refused_naming_the_file(damage, tmp_path):
    config = small_config()
    weights = initial_weights(config, small_architecture(config))
    path = save_checkpoint(tmp_path, weights, {}, step=1, header={})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        path.write_bytes(b"not a checkpoint")
    else:
        path.unlink()
    with pytest.raises(UserError, match=r"step_1\.safetensors"):
        load_checkpoint(path)


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    """After a power cut the name must not stand on content that never reached the disk."""
    calls: list[tuple[str, str]] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append(("sync", "" if path == tmp_path else path.read_text()))
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        calls.append(("rename", Path(target).name))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_atomically(tmp_path / "losses.csv", b"whole")
    assert calls == [("sync", "whole"), ("rename", "losses.csv"), ("sync", "")]


FILLING_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from common.records.folder import RunFolder, write_atomically
from common.records.series import LOSSES_HEADER

run = RunFolder.create(Path(sys.argv[1]))
noise = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 32), dtype=np.uint8)
writes = {
    "losses.csv": lambda size: run.write_csv("losses.csv", LOSSES_HEADER, [(1, 1, 0.1, 0.2, 0.3, 0.4)] * size),
    "samples.npz": lambda size: run.write_npz("samples.npz", images=noise[:size]),
    "samples/epoch_001.png": lambda size: run.write_png("samples/epoch_001.png", noise[0, :size, 0]),
}
for write in writes.values():
    write(1)
for name, write in writes.items():
    before = (run.path / name).read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), resource.RLIM_INFINITY))
    try:
        write(2 if name == "samples.npz" else 60)
        print(name, "was written")
    except OSError as error:
        print(error.strerror, Path(error.filename).relative_to(run.path), (run.path / name).read_bytes() == before)
print(*[path.name for path in run.path.rglob("*.tmp")])
"""


def test_a_disk_that_fills_up_leaves_the_file_before_and_names_it(tmp_path):
    command = [sys.executable, "-c", FILLING_DISK, str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=Path(__file__).parents[2])
    assert result.stdout.splitlines() == [
        "File too large losses.csv True",
        "File too large samples.npz True",
        "File too large samples/epoch_001.png True",
        "",
    ], result.stderr
