"""A user's own dataset in this process: both frameworks train on it, and are reported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console

import common.training.prepare
import common.training.scoring
import jax_impl.__main__
import torch_impl.__main__
from common.data.datasets import Dataset
from common.networks.presets import PRESETS
from common.options import RunOptions
from common.training.run import run_training
from common.training.turns import Alone
from comparison.commands.report import show_report
from comparison.report.figures import Drawn
from comparison.run_both import child_command

LOADERS = {"torch": torch_impl.__main__.load_framework, "jax": jax_impl.__main__.load_framework}


def options(output: Path, **changes: object) -> RunOptions:
    config = replace(PRESETS["smoke"].recipe, **{"batch_size": 8, "train_size": 0, **changes})
    return RunOptions(
        config=config, device="cpu", threads=1, output=output, quick_scoring=True, skip_epoch_quality=True
    )


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
        assert run_training(framework, load, options(tmp_path, dataset="colours"), Console(quiet=True), Alone()) == 0
        with np.load(tmp_path / framework / "samples.npz") as samples:
            assert samples["images"].shape == (50, 32, 32, 3)
    show_report(tmp_path, dataset, Console(quiet=True), image_size=32)
    results = json.loads((tmp_path / "comparison.json").read_text())
    for half in results["frameworks"].values():
        assert half["quality"].keys() >= {"frechet_distance", "kid"}, "by pixels, as these are no digits"
        assert "mnist_score" not in half["quality"]
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_both_frameworks_are_scored_in_the_features_of_one_network_and_the_report_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(common.training.prepare, "load_dataset", lambda *_, **__: colour_dataset(num_test_images=5))
    monkeypatch.setattr(common.training.scoring, "NUM_STANDARD", 50)
    graph = "network (float[N,3,H,W] x) => (float[N,3,1,1] y) { y = GlobalAveragePool (x) }"
    network = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {graph}')
    (tmp_path / "colours.onnx").write_bytes(network.SerializeToString())
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())
    flags = replace(options(tmp_path / "new", dataset="colours", epochs=1), features=tmp_path / "colours.onnx")
    for framework, load in LOADERS.items():
        assert run_training(framework, load, flags, Console(quiet=True), Alone()) == 0
        assert f"--features={flags.features}" in child_command(framework, flags, tmp_path)
    show_report(tmp_path / "new", colour_dataset(num_test_images=5), Console(quiet=True), image_size=32)
    report = (tmp_path / "new" / "report.md").read_text()
    assert "Compared by the 3 features of colours.onnx (SHA-256" in report
    assert "scored by different features" not in report
