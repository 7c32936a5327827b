"""The quick score after each epoch: in epochs.csv, made up for after an interruption, no trace of it in training."""

import csv

import numpy as np
import pytest

from common.records.series import EPOCHS_HEADER, read_epochs
from common.training.epoch_quality import EpochScorer
from tests.counting import FLAGS, CountingTrainer, run

SCORED = [flag for flag in FLAGS if flag != "--skip-epoch-quality"] + ["--epochs=3"]


class Noisy(CountingTrainer):
    """Makes images that show something, which depends on the weights."""

    def generate(self, latents):
        size = self.config.image_size
        pixels = np.resize(latents, (len(latents), size, size, 3)) + super().generate(latents)
        return np.tanh(pixels).astype(np.float32)


def test_every_epoch_is_scored_and_training_is_what_it_is_without(tmp_path):
    assert run("torch", *SCORED, f"--output={tmp_path / 'with'}", trainer=Noisy) == 0
    assert run("torch", *SCORED, "--skip-epoch-quality", f"--output={tmp_path / 'without'}", trainer=Noisy) == 0
    scored, unscored = (tmp_path / name / "torch" for name in ("with", "without"))
    rows = read_epochs(scored / "epochs.csv")
    assert len({row.frechet_distance for row in rows}) == 3
    assert all(row.kid is not None and row.mnist_score is None and row.frechet_distance_floor for row in rows)
    assert all(row.frechet_distance is None for row in read_epochs(unscored / "epochs.csv"))
    for name in ("losses.csv", "checkpoints/step_96.safetensors"):
        assert (scored / name).read_bytes() == (unscored / name).read_bytes()


def test_a_run_that_is_stopped_while_it_is_scored_ends_in_the_same_bytes(tmp_path, monkeypatch):
    assert run("torch", *SCORED, f"--output={tmp_path / 'whole'}", trainer=Noisy) == 0

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochScorer, "__call__", stopped)
        assert run("torch", *SCORED, f"--output={tmp_path / 'part'}", trainer=Noisy) == 130
    part, whole = (tmp_path / name / "torch" for name in ("part", "whole"))
    assert read_epochs(part / "epochs.csv")[0].frechet_distance is None
    assert run("torch", f"--resume={part}", "--threads=1", trainer=Noisy) == 0
    assert (part / "epochs.csv").read_bytes() == (whole / "epochs.csv").read_bytes()


def test_epochs_of_an_older_run_are_read_without_a_score(tmp_path):
    path = tmp_path / "epochs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([EPOCHS_HEADER[:7], [1, 16, 256, 0.5, 0.5, 0.5, 0.5]])
    (row,) = read_epochs(path)
    assert row.frechet_distance is None
    path.write_text(path.read_text() + "2,32,256,0.5\n")
    with pytest.raises(ValueError, match="its rows do not all have 7 columns"):
        read_epochs(path)
