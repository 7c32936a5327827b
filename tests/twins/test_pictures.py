"""Pictures of a discriminator's filters, drawn with either framework."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import common.commands.filters
from common.commands.dispatch import standalone
from common.config import TrainConfig
from common.contract import Trainer
from common.data.datasets import Dataset
from common.records.checkpoint import checkpoint_header, save_checkpoint
from jax_impl.__main__ import load_framework as load_jax
from tests.common.test_pictures import frames_of
from tests.trainers import FRAMEWORKS, build, chunk_of, small_config
from torch_impl.__main__ import load_framework as load_torch

LOADERS = {"torch": load_torch, "jax": load_jax}


def features_command(framework: str, *arguments: object) -> int:
    return standalone(framework, LOADERS[framework], ["features", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, digits) -> Path:
    """Of a small model that two steps have moved."""
    return save_model(tmp_path_factory.mktemp("checkpoints"), small_config("dcgan28"), digits)


def save_model(folder: Path, config: TrainConfig, digits: np.ndarray, *, image_channels: int = 1) -> Path:
    trainer: Trainer = build("torch", config, image_channels=image_channels)
    if image_channels == 1:
        trainer.train_chunk(*chunk_of(config, num_steps=2))
    weights = trainer.export_weights()
    average = {name: array for name, array in weights.items() if name.startswith("generator.") and ".adam." not in name}
    return save_checkpoint(
        folder, weights, average, step=2, header=checkpoint_header(config, framework="torch", epoch=1)
    )


def test_both_frameworks_draw_the_same_features_byte_for_byte(checkpoint, tmp_path):
    flags = ("--num-filters", 3, "--num-images", 4)
    for framework in FRAMEWORKS:
        assert features_command(framework, checkpoint, "--out", tmp_path / framework, *flags) == 0
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "torch").iterdir()}
    assert sorted(pictures) == ["layer_1.png", "layer_2.png"]
    assert len(set(pictures.values())) == 2
    for name, content in pictures.items():
        assert content == (tmp_path / "jax" / name).read_bytes(), name


def test_features_are_found_for_fully_connected_and_for_colour_models(tmp_path, digits, monkeypatch):
    mlp = save_model(tmp_path, small_config("seed004-mlp"), digits)
    monkeypatch.chdir(tmp_path)  # where "features" goes if no folder is named
    assert features_command("torch", mlp, "--num-images", 3) == 0
    pictures = sorted(path.name for path in (tmp_path / "features").iterdir())
    assert pictures == [f"layer_{layer}.png" for layer in (1, 2, 3)]

    colours = np.stack([digits[:50], digits[50:100], digits[100:150]], axis=-1)
    dataset = Dataset("colours", colours, np.zeros(50, np.int64), colours, np.zeros(50, np.int64))
    monkeypatch.setattr(common.commands.filters, "load_dataset", lambda *_, **__: dataset)
    config = replace(small_config("dcgan28"), dataset="colours")
    (tmp_path / "rgb").mkdir()
    rgb = save_model(tmp_path / "rgb", config, digits, image_channels=3)
    assert features_command("torch", rgb, "--out", tmp_path / "colour", "--num-images", 3) == 0
    (picture,) = frames_of((tmp_path / "colour" / "layer_1.png").read_bytes())
    assert (picture[..., 0] != picture[..., 2]).any()


def test_a_model_of_other_images_than_the_data_is_refused(tmp_path, digits, capsys):
    path = save_model(tmp_path, small_config("dcgan28"), digits, image_channels=3)
    assert features_command("torch", path, "--out", tmp_path / "new") == 2
    assert "mnist has grey images, the model takes colour ones" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
