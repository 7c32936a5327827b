"""A whole run in this process, with what a user's data or a failing framework can do to it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import common.training.prepare
import common.training.scoring
import jax_impl.__main__
import torch_impl.__main__
from common.contract import Framework
from common.data.datasets import Dataset
from common.errors import RunFailedError, UserError
from common.networks.presets import PRESETS
from common.options import RunOptions
from common.training.run import run_training
from comparison.commands.dispatch import show_report

LOADERS = {"torch": torch_impl.__main__.load_framework, "jax": jax_impl.__main__.load_framework}


def options(output: Path, **changes: object) -> RunOptions:
    config = replace(PRESETS["smoke"].recipe, **{"batch_size": 8, "train_size": 0, **changes})
    return RunOptions(config=config, device="cpu", threads=1, output=output, quick_scoring=True)


def colour_dataset(num_test_images: int) -> Dataset:
    """Random RGB images of an odd size, fewer for testing than the report's panel shows."""
    images = np.random.default_rng(0).integers(0, 256, (48, 20, 20, 3), dtype=np.uint8)
    labels = np.zeros(48, np.int64)
    return Dataset("colours", images, labels, images[:num_test_images], labels[:num_test_images])


def test_a_small_colour_dataset_goes_through_both_frameworks_and_the_report(tmp_path, monkeypatch):
    dataset = colour_dataset(num_test_images=5)
    monkeypatch.setattr(common.training.prepare, "load_dataset", lambda *_, **__: dataset)
    monkeypatch.setattr(common.training.scoring, "NUM_STANDARD", 50)
    for framework, load in LOADERS.items():
        assert run_training(framework, load, options(tmp_path, dataset="colours"), Console(quiet=True)) == 0
        with np.load(tmp_path / framework / "samples.npz") as samples:
            assert samples["images"].shape == (50, 32, 32, 3)
        assert not (tmp_path / framework / "metrics.json").exists()
    show_report(tmp_path, dataset, Console(quiet=True), image_size=32)
    results = json.loads((tmp_path / "comparison.json").read_text())
    assert results["frameworks"]["jax"]["quality"] is None
    assert (tmp_path / "report.html").stat().st_size > 10_000


def failing_after(num_chunks: int, error: BaseException) -> Callable[[], Framework]:
    """PyTorch, but its trainer raises instead of running the chunk after the first `num_chunks`."""
    real = LOADERS["torch"]()

    def create_trainer(*arguments):
        trainer = real.create_trainer(*arguments)
        train_chunk, calls = trainer.train_chunk, iter(range(num_chunks))

        def failing(real_images, latents):
            if next(calls, None) is None:
                raise error
            return train_chunk(real_images, latents)

        trainer.train_chunk = failing  # pyright: ignore[reportAttributeAccessIssue]
        return trainer

    return lambda: replace(real, create_trainer=create_trainer)


def test_a_failure_in_the_first_epoch_keeps_the_steps_before_it_and_its_own_message(tmp_path):
    load = failing_after(1, MemoryError("no memory for 3 images"))
    with pytest.raises(RunFailedError, match="no memory for 3 images"):
        run_training("torch", load, options(tmp_path, train_size=512), Console(quiet=True))
    status = json.loads((tmp_path / "torch" / "status.json").read_text())
    assert (status["status"], status["step"], status["epoch"]) == ("failed", 16, 0)
    assert len((tmp_path / "torch" / "losses.csv").read_text().splitlines()) == 17
    assert json.loads((tmp_path / "torch" / "timing.json").read_text())["loop_overhead_fraction"] >= 0
    assert "MemoryError" in (tmp_path / "torch" / "error.txt").read_text()


def test_a_failure_before_the_first_step_is_recorded_too(tmp_path):
    with pytest.raises(RunFailedError, match="nothing at all"):
        run_training("torch", failing_after(0, ValueError("nothing at all")), options(tmp_path), Console(quiet=True))
    assert json.loads((tmp_path / "torch" / "status.json").read_text())["status"] == "failed"


def test_stopping_at_once_keeps_the_steps_before_it(tmp_path):
    load = failing_after(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_training("torch", load, options(tmp_path, train_size=512), Console(quiet=True))
    status = json.loads((tmp_path / "torch" / "status.json").read_text())
    assert (status["status"], status["step"]) == ("interrupted", 32)


def test_a_damaged_evaluator_is_found_before_the_training(tmp_path, monkeypatch):
    def damaged() -> None:
        raise UserError("mnist_features.onnx is not the committed feature network")

    monkeypatch.setattr(common.training.prepare, "load_feature_network", damaged)
    with pytest.raises(UserError, match="feature network"):
        run_training("torch", LOADERS["torch"], options(tmp_path / "new"), Console(quiet=True))
    assert not (tmp_path / "new").exists()
