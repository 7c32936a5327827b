"""What a checkpoint shows: pictures that both frameworks draw alike, words that fit them, and refusals of one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import jax_impl.__main__
import torch_impl.__main__
from common.commands import digit_reader, trained_model
from common.commands.arithmetic import compute
from common.commands.digit_reader import NUM_CANDIDATES, DigitReader, Reading
from common.commands.dispatch import standalone
from common.commands.equation import parse_equation
from common.commands.interpolate import NUM_POSITIONS, others_on_ways
from common.commands.trained_model import Model, ModelOptions, open_model
from common.contract import Framework
from common.data.datasets import fit_images, load_dataset
from common.data.latent_paths import slerp
from common.data.randomness import fixed_latents
from common.errors import UserError
from common.evaluation.feature_network import Features
from common.pictures.compose import MARGIN, image_grid
from common.pictures.drawing import enlarge
from common.records.checkpoint import load_checkpoint
from scripts.make_pretrained import make_pretrained, measure_again
from tests import synthetic_runs
from tests.common.test_outputs import WAY, refusal
from tests.common.test_pictures import below_caption
from tests.comparison.test_cli import run
from tests.comparison.test_convert import NUM_UPDATES, write_run
from tests.test_boundaries import modules_after
from tests.trainers import FRAMEWORKS, small_config

LATENT_DIM = small_config().latent_dim
COMMANDS = {
    "a grid": (["sample", "run", "--num=23", "--out=out.png"], ["out.png"]),
    "arrays": (["sample", "run", "--num=23", "--out=out.npz"], ["out.npz"]),
    "a way": (["interpolate", "run", *WAY, "--out=out.png"], ["out.gif", "out.png"]),
    "arithmetic": (["arithmetic", "run", "9 - 4 + 6", "--out=out.png"], ["out.png"]),
}


class StubNetwork:
    """Reads some digit in every image, and is `certainty` sure of it; equal images are equal digits."""

    def __init__(self, certainty: float) -> None:
        self.certainty = certainty

    def extract(self, images: np.ndarray) -> Features:
        digits = images.sum(axis=(1, 2), dtype=np.int64) % 10
        probabilities = np.full((len(images), 10), (1 - self.certainty) / 9)
        probabilities[np.arange(len(images)), digits] = self.certainty
        return Features(features=np.zeros((len(images), 128)), logits=np.log(probabilities).astype(np.float32))


def loader(framework: str) -> Callable[[], Framework]:
    """As the command's own, but the process's threads stay as the suite has set them."""
    load = {"torch": torch_impl.__main__, "jax": jax_impl.__main__}[framework].load_framework
    return lambda: replace(load(), configure=lambda **_: {})


def show(*words: object, framework: str = "torch") -> int:
    return standalone(framework, loader(framework), [str(word) for word in words])


def opened(checkpoint: Path) -> Model:
    return open_model(ModelOptions(checkpoint=checkpoint), loader("torch"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with a run of a tiny model whose images a stub takes for digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(digit_reader, "load_feature_network", lambda: StubNetwork(0.98))
    write_run(tmp_path / "run")
    return tmp_path


@pytest.mark.parametrize("case", COMMANDS)
def test_both_frameworks_write_the_same_bytes(case, folder, capsys):
    words, files = COMMANDS[case]
    written_by, said = {}, {}
    for framework in FRAMEWORKS:
        assert show(*words, framework=framework) == 0, capsys.readouterr().err
        assert sorted(path.name for path in folder.glob("out.*")) == files
        written_by[framework] = [(folder / name).read_bytes() for name in files]
        said[framework] = capsys.readouterr().out
        for name in files:
            (folder / name).unlink()
    assert written_by["torch"] == written_by["jax"]
    assert said["torch"] == said["jax"]


def test_a_grid_shows_the_images_of_the_seeds_fixed_latents(folder):
    show("sample", "run", "--num=23", "--out=out.png")
    show("sample", "run", "--num=23", "--out=out.npz")
    with np.load("out.npz") as arrays:
        images, latents = arrays["images"], arrays["latents"]
    np.testing.assert_array_equal(latents, fixed_latents(0, num=23, latent_dim=LATENT_DIM))
    assert images.dtype == np.uint8
    assert images.shape == (23, 32, 32)
    assert len(np.unique(images, axis=0)) == 23
    grid = image_grid(images, num_columns=10)
    large = grid.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(below_caption(np.asarray(Image.open("out.png")), *large.shape), large)


@pytest.mark.parametrize(("num", "num_columns"), [(7, 7), (23, 10), (100, 10), (120, 11)])
def test_a_grid_has_ten_columns_and_with_many_images_as_many_as_rows(num, num_columns, folder):
    show("sample", "run", f"--num={num}", "--out=out.png")
    picture = np.asarray(Image.open("out.png"))
    width = picture.shape[1] - 2 * MARGIN
    cell = width // (2 + 34 * num_columns)
    assert width == cell * (2 + 34 * num_columns)
    grid = below_caption(picture, cell * (2 + 34 * -(-num // num_columns)), width)
    assert not grid[: 2 * cell].any(), "the black border above the first row"
    assert (picture[:MARGIN] == 255).all()


def test_samples_come_from_the_generators_average(folder):
    checkpoint = load_checkpoint(folder / "run" / "checkpoints" / f"step_{NUM_UPDATES}.safetensors")
    weights = opened(folder / "run").trainer.export_average()
    name = "generator.layers.0.weight"
    np.testing.assert_array_equal(weights[name], checkpoint.average[name].astype(np.float64))
    assert (weights[name] != checkpoint.weights[name]).any()


def test_the_latents_that_sample_wrote_give_the_same_images_again(folder):
    show("sample", "run", "--num=5", "--seed=7", "--out=first.npz")
    show("sample", "run", "--latents=first.npz", "--out=second.npz")
    with np.load("first.npz") as first, np.load("second.npz") as second:
        for name in ("images", "latents"):
            np.testing.assert_array_equal(first[name], second[name])
        np.save("latents.npy", first["latents"].astype(np.float64))
        show("sample", "run", "--latents=latents.npy", "--num=2", "--out=third.npz")
        with np.load("third.npz") as third:
            np.testing.assert_array_equal(third["images"], first["images"][:2])


def test_a_colour_model_is_sampled_in_colour(folder):
    write_run(folder / "colours", image_channels=3)
    assert show("sample", "colours", "--num=3", "--out=out.npz") == 0
    assert show("sample", "colours", "--num=3", "--out=out.png") == 0
    with np.load("out.npz") as arrays:
        assert arrays["images"].shape == (3, 32, 32, 3)
    picture = np.asarray(Image.open("out.png"))
    assert picture.shape[1:] == (6 * (2 + 3 * 34) + 2 * MARGIN, 3)
    assert len(np.unique(below_caption(picture, 6 * (2 + 34), 6 * (2 + 3 * 34)).reshape(-1, 3), axis=0)) > 100


def test_the_way_leads_from_the_one_digit_to_the_other_and_the_words_say_what_is_read(folder, capsys):
    assert show("interpolate", "run", *WAY, "--num-frames=12", "--out=out.png") == 0
    line = capsys.readouterr().out.splitlines()[-2]
    reader = DigitReader(opened(folder / "run"))
    clearest = reader.clearest({6, 9}, num=1, seed=0)
    way = slerp(clearest[6].repeat(12, axis=0), clearest[9].repeat(12, axis=0), np.linspace(0, 1, 12))
    digits = [reading.digit for reading in reader.read(reader.draw(way))]
    assert (digits[0], digits[-1]) == (6, 9)
    read = " ".join(map(str, digits))
    assert line == f"on the way from 6 to 9 the classifier reads in the images of out.png: {read}"


def test_many_ways_are_counted_by_the_other_digits_they_pass(folder, monkeypatch):
    reader = DigitReader(opened(folder / "run"))
    ways = [[6, 9], [6, 8, 9], [6, 8, 4, 8, 9], [6, 4, 9], [6, 8, 9]]
    digits = [digit for way in ways for digit in [*way, *[way[-1]] * (NUM_POSITIONS - len(way))]]
    monkeypatch.setattr(reader, "read", lambda _: [Reading(digit, 1.0) for digit in digits])
    latents = fixed_latents(0, num=5, latent_dim=LATENT_DIM)
    said = others_on_ways(latents, latents[::-1], reader)
    assert said == "On 5 ways between such pairs other digits are read this often: 8 on 3, 4 on 2; none on 1."


def test_strip_and_animation_show_the_digits_at_a_whole_number_of_pixels(folder):
    assert show("interpolate", "run", *WAY, "--num-frames=12", "--out=out.png") == 0
    strip = np.asarray(Image.open("out.png").convert("L"))
    reader = DigitReader(opened(folder / "run"))
    clearest = reader.clearest({6, 9}, num=1, seed=0)
    for digit in (6, 9):
        assert holds(strip, enlarge(reader.draw(clearest[digit]))[0])
    with Image.open("out.gif") as animation:
        first = np.asarray(animation.convert("L"))
    assert holds(first, reader.draw(clearest[6])[0].repeat(12, axis=0).repeat(12, axis=1))


def holds(picture: np.ndarray, part: np.ndarray) -> bool:
    """Whether the part is somewhere in the picture, pixel by pixel."""
    height, width = part.shape
    corners = np.argwhere(picture[: 1 - height or None, : 1 - width or None] == part[0, 0])
    return any((picture[y : y + height, x : x + width] == part).all() for y, x in corners)


def test_the_verdict_on_the_result_is_printed_and_the_picture_holds_its_image(folder, capsys):
    assert show("arithmetic", "run", "9-4+6", "--out=out.png") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    reader = DigitReader(opened(folder / "run"))
    exemplars = reader.clearest({4, 6, 9}, num=3, seed=0)
    means = {digit: latents.mean(axis=0, dtype=np.float64) for digit, latents in exemplars.items()}
    image = reader.draw(compute(parse_equation("9 - 4 + 6"), means)[None].astype(np.float32))
    assert line.startswith(f"9 - 4 + 6: the classifier reads {reader.read(image)[0]}, and ")
    assert line.endswith(" of the 8 images around it")
    picture = np.asarray(Image.open("out.png").convert("L"))
    for part in (image, *(reader.draw(latents) for latents in exemplars.values())):
        for cell in enlarge(part):
            assert holds(picture, cell[8:-8, 8:-8])  # the frame covers the result's edge


def test_exemplars_are_those_the_classifier_is_surest_of(folder, monkeypatch):
    reader = DigitReader(opened(folder / "run"))
    certainty = np.random.default_rng(0).uniform(0.9, 1, NUM_CANDIDATES)
    probabilities = np.zeros((NUM_CANDIDATES, 10))
    probabilities[:, 3] = certainty
    monkeypatch.setattr(reader, "probabilities", lambda _: probabilities)
    candidates = fixed_latents(5, num=NUM_CANDIDATES, latent_dim=LATENT_DIM)
    found = reader.clearest({3}, num=3, seed=5)[3]
    np.testing.assert_array_equal(found, candidates[np.argsort(certainty)[:-4:-1]])
    with pytest.raises(UserError, match="of 2,000 samples none is clearly a 4 to the classifier, 3 needed"):
        reader.clearest({3, 4}, num=3, seed=5)
    assert len(reader.clearest({3}, num=3, most=40, seed=5)[3]) == 40
    probabilities[7:] *= 0.5
    assert len(reader.clearest({3}, num=3, most=40, seed=5)[3]) == 7


def test_the_classifier_reads_real_digits_with_a_border_as_their_labels(folder, monkeypatch, digits):
    monkeypatch.undo()
    reader = DigitReader(opened(folder / "run"))
    readings = reader.read(fit_images(digits, 32))
    right = [reading.digit == label for reading, label in zip(readings, load_dataset().train_labels, strict=False)]
    assert np.mean(right) > 0.98
    assert all(0.1 <= reading.probability <= 1 for reading in readings)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["interpolate", "run", *WAY], ["interpolation.gif", "interpolation.png"]),
        (["arithmetic", "run", "9 - 4"], ["arithmetic.png"]),
    ],
    ids=lambda words: words[0],
)
def test_a_picture_has_a_name_where_none_is_given(words, files, folder):
    before = {path.name for path in folder.iterdir()}
    assert show(*words) == 0
    assert sorted({path.name for path in folder.iterdir()} - before) == files


def test_the_model_that_comes_with_the_project_is_whole_small_and_the_same_in_both_frameworks(folder):
    assert sum(path.stat().st_size for path in trained_model.FOLDER.iterdir()) < 6e6
    for framework in FRAMEWORKS:
        assert show("sample", "--pretrained", "--num=10", f"--out={framework}.npz", framework=framework) == 0
    assert (folder / "torch.npz").read_bytes() == (folder / "jax.npz").read_bytes()
    with np.load("torch.npz") as arrays:
        inked = (arrays["images"] > 127).mean(axis=(1, 2))
    assert ((inked > 0.02) & (inked < 0.3)).all(), "as much ink as a digit has"


@pytest.fixture
def shipped(folder, monkeypatch) -> Path:
    """Where a tiny pretrained model lies, made as the real one is."""
    (folder / "run" / "status.json").write_text(
        json.dumps({"status": "finished", "message": "", "step": 1, "epoch": 1})
    )
    metrics = {"frechet_distance": {"value": 0.6, "spread": 0.02, "floor": 0.04}}
    (folder / "run" / "metrics.json").write_text(json.dumps(synthetic_runs.metrics("torch") | {"metrics": metrics}))
    monkeypatch.setattr(trained_model, "FOLDER", folder / "shipped")
    (folder / "shipped").mkdir()
    make_pretrained(folder / "run", folder / "shipped", measure=lambda _: measured_again(metrics))
    return folder / "shipped"


def measured_again(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: metric | {"value": 0.7} for name, metric in metrics.items()}


@pytest.mark.usefixtures("shipped")
def test_the_pretrained_model_draws_as_its_checkpoint_does_but_for_rounding(folder):
    for framework in FRAMEWORKS:
        assert show("sample", "--pretrained", "--num=50", f"--out={framework}.npz", framework=framework) == 0
    assert (folder / "torch.npz").read_bytes() == (folder / "jax.npz").read_bytes()
    assert show("sample", "run", "--num=50", "--out=checkpoint.npz") == 0
    with np.load("torch.npz") as half, np.load("checkpoint.npz") as whole:
        difference = np.abs(half["images"].astype(int) - whole["images"])
    assert difference.max() <= 8
    assert difference.mean() < 0.5


def test_the_pretrained_file_holds_half_precision_and_nothing_of_adam(shipped):
    tensors, header = trained_model.unpack((shipped / "dcgan.safetensors").read_bytes())
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float16)}
    assert not any(".adam." in name for name in tensors)
    assert (header["step"], header["framework"]) == (NUM_UPDATES, "torch")
    assert header["metrics_of_run"] == {"frechet_distance": 0.6}


def test_both_scores_of_the_pretrained_model_stand_side_by_side(shipped):
    described = json.loads((shipped / "dcgan.json").read_text())
    assert described["metrics"]["frechet_distance"] == {"float16": 0.7, "run": 0.6, "run_spread": 0.02, "floor": 0.04}


def test_a_shipped_model_that_is_measured_again_loses_the_old_scores_of_its_run(shipped):
    before = json.loads((shipped / "dcgan.json").read_text())
    described = measure_again(shipped, measure=lambda _: {"kid": {"value": 0.5, "spread": None, "floor": 0.1}})
    assert described["metrics"] == {"kid": {"float16": 0.5, "run": None, "run_spread": None, "floor": 0.1}}
    assert {**described, "metrics": before["metrics"]} == before
    assert json.loads((shipped / "dcgan.json").read_text()) == described


@pytest.mark.usefixtures("shipped")
def test_arithmetic_with_the_pretrained_model_needs_the_equation_alone(folder):
    assert show("arithmetic", "--pretrained", "9 - 4 + 6", "--out=out.png") == 0
    assert show("arithmetic", "--pretrained", "9", "-", "4", "+", "6", "--out=unquoted.png") == 0
    assert (folder / "out.png").read_bytes() == (folder / "unquoted.png").read_bytes()
    assert (folder / "out.png").exists()


def test_a_damaged_pretrained_file_is_refused(shipped, capsys):
    path = shipped / "dcgan.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "--pretrained: dcgan.safetensors is damaged" in refusal(capsys, "sample", "--pretrained", "--out=out.png")
    path.write_bytes(b"")
    assert "--pretrained: dcgan.safetensors is damaged" in refusal(capsys, "sample", "--pretrained", "--out=out.png")


def test_a_copy_without_pretrained_weights_says_what_to_do(folder, monkeypatch, capsys):
    monkeypatch.setattr(trained_model, "FOLDER", folder)
    assert "name a checkpoint instead" in refusal(capsys, "sample", "--pretrained", "--out=out.png")


def test_a_model_too_large_for_half_precision_is_not_shipped(folder):
    large = np.full(16, 1e5, np.float32)
    checkpoint = write_run(folder / "large", changes={"discriminator.layers.3.bias": large})
    with pytest.raises(UserError, match="does not fit into float16"):
        trained_model.pack(load_checkpoint(checkpoint), {})


def test_only_a_finished_run_is_shipped(folder):
    with pytest.raises(UserError, match="no finished run"):
        make_pretrained(folder / "run", folder)
    assert not (folder / "dcgan.json").exists()


@pytest.mark.parametrize("words", [["interpolate", "run", *WAY], ["arithmetic", "run", "9"]])
def test_a_model_whose_images_are_no_digits_is_refused_in_one_line(words, folder, monkeypatch, capsys):
    monkeypatch.setattr(digit_reader, "load_feature_network", lambda: StubNetwork(0.8))
    assert show(*words, "--out=out.png") == 2
    assert "of 2,000 samples none is clearly a" in capsys.readouterr().err
    assert not (folder / "out.png").exists()


def test_a_missing_framework_is_one_line(folder, capsys):
    def load() -> Framework:
        raise ImportError("No module named 'torch'")

    assert standalone("torch", load, ["sample", str(folder / "run"), "--out=out.png"]) == 2
    assert "the framework is not installed (No module named 'torch')" in capsys.readouterr().err


def test_a_name_in_a_checkpoint_that_anyone_may_have_written_stays_one_printable_line(folder):
    write_run(folder / "named", framework="$\n\x1b[2J")
    assert opened(folder / "named").name == "dcgan32 on mnist, step 1,234, trained in an unknown framework"


def test_the_commands_leave_both_frameworks_alone_until_they_need_one():
    names = ("sample", "interpolate", "arithmetic", "trained_model")
    modules = modules_after("; ".join(f"import common.commands.{name}" for name in names))
    assert modules.isdisjoint({"torch", "jax", "flax", "optax", "tensorflow"})


def test_a_command_runs_as_a_person_runs_it(folder):
    result = run("-m", "torch_impl", "sample", str(folder / "run"), f"--out={folder / 'out.png'}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    first, *_, last = result.stdout.splitlines()
    assert first == "loading dcgan32 on mnist, step 1,234, trained in PyTorch"
    assert last.endswith("out.png")
    assert "1,234 steps are too few: 100 % of the samples are grey" in result.stdout
    assert (folder / "out.png").exists()
