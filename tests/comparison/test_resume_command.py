"""`--resume` from the command line to the run folder: where it goes on, what it leaves, and what it refuses."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from common.errors import UserError, report_errors
from common.networks.presets import PRESETS
from common.options import RunOptions, parse
from common.records.checkpoint import list_checkpoints, load_checkpoint
from common.records.folder import RunFolder
from comparison.commands.dispatch import run_command
from comparison.commands.run import CompareOptions
from comparison.run_both import unfinished_halves
from tests.counting import FLAGS, STEPS_PER_EPOCH, CountingTrainer, run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one: what is written by mistake is seen."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert run("torch", *FLAGS, "--epochs=2", f"--output={folder}") == 0
    return folder / "torch"


@pytest.fixture
def finished(_finished: Path, folder: Path) -> Path:
    """A copy of a run of two epochs, NAME/torch, which ended at step 64."""
    return shutil.copytree(_finished, folder / "NAME" / "torch")


def steps_of(path: Path) -> list[int]:
    return [int(checkpoint.stem.removeprefix("step_")) for checkpoint in list_checkpoints(path / "checkpoints")]


def logged_steps(path: Path) -> list[int]:
    return [int(line.split(",")[0]) for line in (path / "losses.csv").read_text().splitlines()[1:]]


def stopping_after(number: int, signal_number: int = signal.SIGTERM) -> type[CountingTrainer]:
    """A trainer that is sent a signal while it runs its chunk `number`."""

    class Stopping(CountingTrainer):
        chunks = 0

        def train_chunk(self, indices, latents, decays):
            self.chunks += 1
            if self.chunks == number:
                os.kill(os.getpid(), signal_number)
            return super().train_chunk(indices, latents, decays)

    return Stopping


class Failing(CountingTrainer):
    """A trainer that does not get through its first chunk."""

    def train_chunk(self, indices, latents, decays):
        raise MemoryError("no memory")


# What is refused


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line that says why."""
    errors = capsys.readouterr().err.strip()
    assert code == 2, errors
    assert len(errors.splitlines()) == 1, errors
    return errors


def compare(*words: object) -> int:
    return report_errors("compare.py", lambda: run_command([str(word) for word in words]))


@pytest.mark.parametrize("flags", [["--resume", ""], ["--resume="]])
def test_an_empty_path_is_refused_and_trains_nothing(flags, folder, capsys):
    assert "--resume is empty" in refused(capsys, run("torch", *flags))
    assert "--resume is empty" in refused(capsys, compare(*flags))
    assert list(folder.iterdir()) == []


def test_a_path_too_long_for_the_system_is_one_line(capsys):
    name = "x" * 300
    assert "File name too long" in refused(capsys, run("torch", "--resume", name))
    for words in (["--resume", name], ["report", name], ["--preset=smoke", "--output", name]):
        assert "File name too long" in refused(capsys, compare(*words))


def test_a_pipe_and_an_empty_folder_are_told_as_what_they_are(folder, capsys):
    os.mkfifo(folder / "pipe")
    (folder / "empty").mkdir()
    assert refused(capsys, run("torch", "--resume=pipe")).endswith("pipe is not a regular file")
    assert "empty is an empty folder" in refused(capsys, run("torch", "--resume=empty"))
    assert "empty is an empty folder" in refused(capsys, compare("--resume=empty"))


def test_compare_refuses_a_folder_without_a_comparison_and_one_half(finished, folder, capsys):
    (folder / "other").mkdir()
    (folder / "other" / "note.txt").touch()
    assert "holds no run" in refused(capsys, compare("--resume=other"))
    options = parse(CompareOptions, [f"--resume={finished}"], program="")
    with pytest.raises(UserError, match="holds no comparison"):
        unfinished_halves(options, finished)


@pytest.mark.parametrize("halves", [["torch"], ["torch", "jax"]])
def test_a_comparison_killed_before_it_wrote_anything_can_be_started_again(halves, folder, capsys):
    for half in halves:
        RunFolder.create(folder / "NAME" / half).unlock()
    options = RunOptions(config=PRESETS["smoke"].recipe, output=folder / "NAME")
    assert unfinished_halves(options, folder / "NAME") == ["torch", "jax"]
    assert "start again there, with --output" in refused(capsys, compare("--resume=NAME"))
    (folder / "NAME" / "torch" / "note.txt").touch()
    with pytest.raises(UserError, match="already holds a comparison"):
        unfinished_halves(options, folder / "NAME")


@pytest.mark.parametrize("name", ["samples", "checkpoints"])
def test_a_folder_within_the_run_that_is_a_link_is_refused(name, finished, folder, capsys):
    (finished / name).rename(folder / "elsewhere")
    (finished / name).symlink_to(folder / "elsewhere")
    before = sorted((folder / "elsewhere").iterdir())
    assert f"{name} is a link" in refused(capsys, run("torch", f"--resume={finished}", "--epochs=3"))
    assert sorted((folder / "elsewhere").iterdir()) == before


def test_planted_links_are_not_followed(finished, folder, capsys):
    (finished / "error.txt").symlink_to(folder / "elsewhere.txt")
    assert run("torch", f"--resume={finished}", "--epochs=3", trainer=Failing) == 1
    assert "no memory" in (finished / "error.txt").read_text()
    (finished / ".lock").unlink()
    (finished / ".lock").symlink_to(folder / "elsewhere.txt")
    capsys.readouterr()
    assert "cannot be written" in refused(capsys, run("torch", f"--resume={finished}"))
    assert not (folder / "elsewhere.txt").exists()


# Where it goes on


@pytest.mark.parametrize("place", ["the current folder", "a link", "a renamed copy", "its comparison"])
def test_a_run_goes_on_in_its_own_folder_whatever_it_is_called(place, finished, folder, monkeypatch):
    path = finished
    if place == "the current folder":
        monkeypatch.chdir(finished)
        path = Path()
    elif place == "a link":
        path = folder / "latest"
        path.symlink_to(finished)
    elif place == "a renamed copy":
        path = finished = finished.rename(folder / "copy of mine")
    else:
        path = finished.parent
    assert run("torch", "--resume", path, "--epochs=3") == 0
    assert steps_of(finished) == [64, 96]
    assert load_checkpoint(finished / "checkpoints" / "step_96.safetensors").header["framework"] == "torch"
    assert not (folder / "runs").exists()
    assert not (finished / "runs").exists()


def test_a_new_folder_is_named(finished, folder, capsys):
    assert run("jax", f"--resume={finished}", "--epochs=3") == 0
    (new,) = (folder / "runs").iterdir()
    assert f"Results go to {Path('runs') / new.name / 'jax'}" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["within checkpoints", "a link to it"])
def test_a_checkpoint_brings_its_records_however_it_is_named(place, finished, folder, monkeypatch):
    path = Path("step_32.safetensors")
    if place == "within checkpoints":
        monkeypatch.chdir(finished / "checkpoints")
    else:
        path = folder / "best.safetensors"
        path.symlink_to(finished / "checkpoints" / "step_32.safetensors")
    assert run("jax", "--resume", path, f"--output={folder / 'new'}") == 0
    new = folder / "new" / "jax"
    assert logged_steps(new) == list(range(1, 65))
    grids = [f"samples/epoch_00{epoch}.png" for epoch in range(3)]
    for name in ("losses.csv", "epochs.csv", "progress.npz", *grids):
        assert (new / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_run_in_a_new_folder_can_be_resumed_before_its_first_epoch_ends(finished, folder):
    new = folder / "new" / "torch"
    assert run("torch", f"--resume={finished}", f"--output={new.parent}", "--epochs=3", trainer=Failing) == 1
    assert steps_of(new) == [64]
    assert run("torch", f"--resume={new}", trainer=stopping_after(1)) == 143
    assert run("torch", f"--resume={new}") == 0
    assert logged_steps(new) == list(range(1, 97))
    assert sorted(path.name for path in (new / "samples").iterdir()) == [f"epoch_00{epoch}.png" for epoch in range(4)]


def test_a_bare_checkpoint_is_gone_on_from_twice(finished, folder):
    bare = shutil.copy(finished / "checkpoints" / "step_32.safetensors", folder)
    new = folder / "new" / "torch"
    assert run("torch", f"--resume={bare}", f"--output={new.parent}", trainer=stopping_after(1)) == 143
    assert steps_of(new) == [32, 48]
    assert run("torch", f"--resume={new}") == 0
    assert logged_steps(new) == list(range(33, 65))


def test_the_folder_is_locked_before_its_state_is_read(finished):
    def another_process() -> None:
        with pytest.raises(UserError, match="in use by another run"):
            RunFolder.reopen(finished)

    assert run("torch", f"--resume={finished}", "--epochs=3", while_loading=another_process) == 0
    RunFolder.reopen(finished).unlock()


# What it leaves


def test_after_a_damaged_checkpoint_two_intact_ones_are_kept(finished):
    newest = finished / "checkpoints" / f"step_{2 * STEPS_PER_EPOCH}.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert run("torch", f"--resume={finished}", trainer=stopping_after(1)) == 143
    assert steps_of(finished) == [32, 48]
    for path in list_checkpoints(finished / "checkpoints"):
        load_checkpoint(path)


def test_the_environment_and_the_timing_are_of_one_process(finished):
    names = ("environment.json", "timing.json")
    before = [(finished / name).read_bytes() for name in names]
    (finished / "samples.npz").unlink()
    assert run("torch", f"--resume={finished}") == 0  # samples only
    assert [(finished / name).read_bytes() for name in names] == before
    assert (finished / "samples.npz").exists()
    assert run("torch", f"--resume={finished}", "--epochs=3", trainer=Failing) == 1
    assert json.loads((finished / "environment.json").read_text())["resumed_at_step"] == 64
    assert not (finished / "timing.json").exists()
    assert run("torch", f"--resume={finished}") == 0
    assert json.loads((finished / "timing.json").read_text())["resumed_at_step"] == 64
