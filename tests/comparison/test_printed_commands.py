"""Every command that is printed can be copied into a terminal that stands elsewhere, and finds the data again."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from common.data.datasets import load_dataset
from common.errors import report_errors
from common.options import RunOptions, parse
from common.records.environment import own_command
from common.training.prepare import load_training_data
from comparison.commands.dispatch import run_command
from comparison.commands.run import say_how_to_go_on
from tests import counting
from tests.counting import CountingTrainer

NUM_PICTURES = 80
FLAGS = ["--preset=smoke", "--dataset=folder", "--train-size=0", "--batch-size=2", "--threads=1", "--epochs=1"]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `my cats` of random pictures; it lies in the current folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my cats"
    folder.mkdir()
    for index in range(NUM_PICTURES):
        noise = np.random.default_rng(index).integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index}.png")
    return folder


class Stopping(CountingTrainer):
    """A trainer that is told to stop while it runs its first chunk."""

    def train_chunk(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().train_chunk(indices, latents, decays)


class FullDisk(CountingTrainer):
    """A trainer whose folder takes nothing more."""

    def generate(self, latents: np.ndarray) -> np.ndarray:
        raise OSError(28, "No space left on device", "samples.npz")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Like `tests.counting.run`, which replaces the data, but with the data that the flags name."""

    def start(framework: str, *flags: object, trainer: type[CountingTrainer] = CountingTrainer) -> int:
        monkeypatch.setattr(counting, "colours", load_dataset)
        return counting.run(framework, *flags, trainer=trainer)

    return start


def printed_command(text: str, word: str) -> list[str]:
    """The words of the command in `text` that has this one, without what stands before the module."""
    (line,) = re.findall(rf"-m \S+ (?:--)?{word}.*", text)
    return shlex.split(line)[1:]


@pytest.mark.parametrize(("trainer", "code"), [(Stopping, 143), (FullDisk, 1)])
def test_the_command_to_go_on_with_works_as_it_is_printed_from_another_folder(
    trainer, code, run, pictures, capsys, monkeypatch
):
    assert run("torch", *FLAGS, "--data-dir=my cats", "--output=new [run]", trainer=trainer) == code
    printed = capsys.readouterr()
    module, *words = printed_command(printed.out + printed.err, "resume")
    assert module == "torch_impl"
    elsewhere = pictures.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert run("torch", *words) == 0
    record = json.loads((pictures.parent / "new [run]" / "torch" / "status.json").read_text())
    assert record["status"] == "finished"
    assert list(elsewhere.iterdir()) == []


def test_the_record_says_which_images_a_run_was_trained_on(run, pictures):
    assert run("torch", *FLAGS, "--data-dir=my cats", "--output=new") == 0
    record = json.loads(Path("new/torch/environment.json").read_text())["dataset"]
    dataset = load_dataset("folder", pictures)
    assert record == {
        "name": "folder",
        "data_dir": str(pictures),
        "sha256": dataset.sha256,
        "num_train": 72,
        "num_test": 8,
        "channels": 3,
        "made": "80 PNG files, resized and centre-cropped to 32 px, RGB; 8 of them held out for testing",
    }


def test_data_that_was_moved_is_taken_from_its_new_place_and_other_data_is_refused(run, pictures, capsys):
    assert run("torch", *FLAGS, "--data-dir=my cats", "--output=new") == 0
    moved = pictures.rename(pictures.parent / "moved")
    capsys.readouterr()
    assert run("torch", "--resume=new/torch", "--epochs=2") == 2
    assert (
        "is not a folder of images: name the one that holds them, or where it was moved to" in capsys.readouterr().err
    )
    assert run("torch", "--resume=new/torch", "--epochs=2", "--data-dir=moved") == 0
    (moved / "0.png").write_bytes((moved / "1.png").read_bytes())
    capsys.readouterr()
    for words in (["--resume=new/torch"], ["--resume=new"]):
        assert run("torch", *words, "--epochs=3") == 2
        errors = capsys.readouterr().err
        assert "was trained on other images (72 training images in" in errors
        assert len(errors.splitlines()) == 1
    assert report_errors("", lambda: run_command(["report", "new"])) == 2
    assert "was trained on other images" in capsys.readouterr().err


def test_the_commands_that_a_stopped_comparison_prints_find_its_data_from_another_folder(
    run, pictures, capsys, monkeypatch
):
    assert run("torch", *FLAGS, "--data-dir=my cats", "--output=a b") == 0
    capsys.readouterr()
    say_how_to_go_on(Path("a b"), Console())
    output = capsys.readouterr().out
    (pictures.parent / "elsewhere").mkdir()
    monkeypatch.chdir(pictures.parent / "elsewhere")
    module, *words = printed_command(output, "resume")
    options = parse(RunOptions, words, program="")
    assert module == "compare"
    assert options.data_dir == pictures
    assert len(load_training_data(options).train_images) == 72
    module, *words = printed_command(output, "report")
    assert run_command(words) == 0
    assert (pictures.parent / "a b" / "report.html").exists()


def test_a_run_without_the_record_is_resumed_as_before(run, pictures):
    assert run("torch", *FLAGS, "--data-dir=my cats", "--output=new") == 0
    path = Path("new/torch/environment.json")
    record = json.loads(path.read_text())
    del record["dataset"]
    path.write_text(json.dumps(record))
    assert run("torch", "--resume=new/torch", "--epochs=2", "--data-dir=my cats") == 0


@pytest.mark.parametrize("module", ["compare", "torch_impl", "jax_impl"])
def test_a_printed_command_is_found_from_any_folder(module, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        own_command(module, "--version"), shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("dcgan-twins ")


def test_one_spelling_of_a_name_is_recorded():
    assert parse(RunOptions, ["--dataset=Fashion-MNIST"], program="").config.dataset == "fashion_mnist"
