"""The generator as ONNX makes the images of both twins, and a model leaves with a card that says what it is."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from common.commands.trained_model import FOLDER
from common.data.randomness import fixed_latents
from common.errors import UserError
from common.records.checkpoint import load_checkpoint
from comparison.checkpoints.model_card import CARD_FILE, pretrained_card
from comparison.checkpoints.onnx_generator import check_onnx, run_onnx
from tests.comparison.test_convert import convert, fails, write_run
from tests.trainers import DISTINCT_PRESETS, FRAMEWORKS, build, small_architecture, small_config


@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
def test_onnxruntime_makes_of_the_file_what_both_twins_make(preset, tmp_path):
    config = small_config(preset)
    checkpoint = load_checkpoint(write_run(tmp_path / "run", config))
    assert convert(tmp_path / "run", "--to", "onnx", "--output", tmp_path / "model.onnx") == 0
    latents = fixed_latents(config.seed, num=8, latent_dim=config.latent_dim)
    images = run_onnx(tmp_path / "model.onnx", latents)
    assert images.std() > 0
    for framework in FRAMEWORKS:
        trainer = build(framework, config)
        trainer.load_weights(checkpoint.weights | checkpoint.average)
        limit = 1e-4 * images.std()  # seed003's images are faint at this width
        np.testing.assert_allclose(images[:, 0], trainer.generate(latents), rtol=0, atol=limit, err_msg=framework)


def test_colour_and_float64_leave_too(tmp_path):
    config = small_config(precision="float64")
    write_run(tmp_path / "run", config, image_channels=3)
    convert(tmp_path / "run", "--to", "onnx", "--output", tmp_path / "model.onnx")
    latents = fixed_latents(0, num=2, latent_dim=config.latent_dim)
    assert run_onnx(tmp_path / "model.onnx", latents).shape == (2, 3, 32, 32)


def test_a_file_that_makes_no_images_of_that_size_is_refused(tmp_path):
    write_run(tmp_path / "run")
    convert(tmp_path / "run", "--to", "onnx", "--output", tmp_path / "model.onnx")
    with pytest.raises(UserError, match="makes no images"):
        check_onnx(tmp_path / "model.onnx", small_architecture(small_config(), image_channels=3))
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="cannot run"):
        check_onnx(tmp_path / "broken.onnx", small_architecture(small_config()))


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = fails(capsys, tmp_path / "run", "--to", "onnx", "--output", tmp_path / "model.onnx")
    assert "pip install 'dcgan-twins[onnx]'" in said
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("target", ["pytorch-state-dict", "onnx"])
def test_a_card_goes_beside_what_leaves_and_replaces_no_readme(target, tmp_path, capsys):
    write_run(tmp_path / "run")
    convert(tmp_path / "run", "--to", target, "--output", tmp_path / "first")
    assert f"Model card: {tmp_path / CARD_FILE}" in capsys.readouterr().out.replace("\n", "")
    card = (tmp_path / CARD_FILE).read_text()
    convert(tmp_path / "run", "--to", target, "--output", tmp_path / "second")
    assert (tmp_path / CARD_FILE).read_text() == card
    assert (tmp_path / "second.md").exists()
    for words in (
        "# first",
        "step 1,234",
        "CC BY-SA 3.0",
        "were not scored",
        "import torch",
        "nnx.update",
        "onnxruntime",
    ):
        assert words in card
    assert re.match(r"---\nlicense: cc-by-sa-3.0\n(?:.*\n)+?---\n", card)


def test_the_shipped_model_has_its_card():
    written = (FOLDER / CARD_FILE).read_text(encoding="utf-8")
    assert written == pretrained_card(), "stale: python scripts/make_pretrained.py writes it"
    assert "| Fréchet distance |" in written
    assert Path(FOLDER / "dcgan.safetensors").exists()
