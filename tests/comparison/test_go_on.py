"""`--go-on`: one line of words that starts a run, goes on with it, and does nothing once it is finished."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import comparison.run_both
from common.errors import report_errors
from common.options import RunOptions, parse
from common.records.folder import CONFIG_FILE
from comparison.commands.dispatch import run_command
from comparison.commands.run import CompareOptions
from comparison.run_both import unfinished_halves
from tests.counting import DATA_FLAGS, FLAGS, run
from tests.test_docs import ROOT

FILES = ["losses.csv", "epochs.csv", "progress.npz", "samples.npz", "checkpoints/step_96.safetensors"]
KILLED_FLAGS = [*DATA_FLAGS, "--epochs=3", "--quick-scoring", "--draws=1"]


def words(output: Path, *more: str) -> list[str]:
    return [*FLAGS, "--epochs=2", "--go-on", f"--output={output}", *more]


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    errors = capsys.readouterr().err.strip()
    assert code == 2, errors
    assert len(errors.splitlines()) == 1, errors
    return errors


def test_the_same_words_start_a_run_and_then_find_it_finished_without_importing_the_framework(tmp_path, capsys):
    def never() -> None:
        raise AssertionError("the framework was imported")

    assert run("torch", *words(tmp_path)) == 0
    before = (tmp_path / "torch" / "status.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run("torch", *words(tmp_path), while_loading=never) == 0
    assert "torch is finished" in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "torch" / "status.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_run_that_is_not_finished_goes_on_whatever_its_status_says(status, tmp_path):
    assert run("torch", *words(tmp_path)) == 0
    path = tmp_path / "torch" / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": status}))
    (tmp_path / "torch" / "samples.npz").unlink()
    assert run("torch", *words(tmp_path)) == 0
    assert (tmp_path / "torch" / "samples.npz").exists()
    assert json.loads(path.read_text())["status"] == "finished"


@pytest.mark.parametrize(("flag", "said"), [("--seed=1", r"another seed (0 / 1)"), ("--epochs=3", "another epochs (2")])
def test_another_configuration_is_refused_in_one_line_by_all_three_programs(flag, said, tmp_path, capsys):
    for framework in ("torch", "jax"):
        assert run(framework, *words(tmp_path)) == 0
        capsys.readouterr()
        assert said in refused(capsys, run(framework, *words(tmp_path, flag)))
    compared = report_errors("compare.py", lambda: run_command(words(tmp_path, flag)))
    assert said in refused(capsys, compared)


def test_the_run_of_the_other_framework_is_refused(tmp_path, capsys):
    assert run("torch", *words(tmp_path)) == 0
    (tmp_path / "torch").rename(tmp_path / "jax")
    capsys.readouterr()
    assert "holds a run of torch" in refused(capsys, run("jax", *words(tmp_path)))


@pytest.mark.parametrize("flags", [["--go-on"], ["--go-on", "--resume=DIR", "--output=DIR"]])
def test_it_needs_the_folder_to_start_or_to_go_on_in(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("torch", *words(tmp_path / "DIR")) == 0
    capsys.readouterr()
    assert "--go-on needs --output" in refused(capsys, run("torch", *FLAGS, *flags))


def test_compare_goes_on_with_the_halves_that_are_not_finished(tmp_path):
    assert run("torch", *words(tmp_path)) == 0
    options = parse(CompareOptions, words(tmp_path), program="")
    assert unfinished_halves(options, tmp_path) == ["jax"]
    assert unfinished_halves(parse(CompareOptions, words(tmp_path / "blank"), program=""), tmp_path / "blank") == [
        "torch",
        "jax",
    ]


def test_compare_ends_at_once_when_both_halves_and_the_report_are_there(tmp_path, monkeypatch, capsys):
    for framework in ("torch", "jax"):
        assert run(framework, *words(tmp_path)) == 0
    for flags, name in ((["--no-certify"], "comparison.json"), ([], "parity.json")):
        (tmp_path / name).touch()
        (tmp_path / "comparison.json").touch()
        monkeypatch.setattr(comparison.run_both, "check_both", None)  # nothing is started
        assert run_command(words(tmp_path, *flags)) == 0
        assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    "moment",
    [
        "half:step_*.safetensors:2",
        *(pytest.param(moment, marks=pytest.mark.slow) for moment in ("renamed:losses.csv:1", "whole:status.json:1")),
    ],
)
def test_killed_and_started_again_with_the_same_words_it_leaves_the_same_bytes(moment, tmp_path):
    def start(moment: str, output: Path) -> int:
        command = [sys.executable, "-m", "tests.saboteur", "counting", moment, *KILLED_FLAGS, "--go-on"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run([*command, f"--output={output}"], cwd=ROOT, env=environment, capture_output=True)
        return ended.returncode

    assert start("none", tmp_path / "undisturbed") == 0
    assert start(moment, tmp_path / "killed") == -signal.SIGKILL
    assert (tmp_path / "killed" / "torch" / CONFIG_FILE).exists()
    assert start("none", tmp_path / "killed") == 0
    for name in FILES:
        expected = (tmp_path / "undisturbed" / "torch" / name).read_bytes()
        assert (tmp_path / "killed" / "torch" / name).read_bytes() == expected, name


def test_the_flag_is_not_a_part_of_the_configuration(tmp_path):
    assert (
        parse(RunOptions, words(tmp_path), program="").config
        == parse(RunOptions, words(tmp_path)[:-2], program="").config
    )
