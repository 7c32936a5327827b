"""Ctrl-C, SIGTERM and a closed terminal end a run cleanly, and reach every process a comparison starts."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import common.training.prepare
import common.training.run
import comparison.parity.find_certificate
import comparison.run_both
from common.errors import Stopped, UserError, report_errors
from common.records.environment import own_command
from comparison.commands.dispatch import run_command
from comparison.processes import Children
from tests.counting import FLAGS, CountingTrainer, colours, run

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers_stay():
    """A shell starts background jobs with SIGINT ignored; whatever a test does, the next one finds these handlers."""
    previous = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


def signalled_while_sampling(*numbers: int) -> type[CountingTrainer]:
    """A trainer that is sent these signals, one after the other, by the call of `generate` that is for scoring."""

    class Signalled(CountingTrainer):
        def generate(self, latents):
            if len(latents) == 4:
                for number in numbers:
                    os.kill(os.getpid(), number)
            return super().generate(latents)

    return Signalled


@pytest.mark.parametrize(
    ("framework", "number"), [("torch", signal.SIGTERM), ("jax", signal.SIGINT), ("torch", signal.SIGHUP)]
)
def test_a_signal_while_samples_are_scored_ends_the_run_at_once_and_says_how_to_go_on(
    framework, number, tmp_path, capsys
):
    flags = [*FLAGS, "--epochs=1", f"--output={tmp_path}"]
    assert run(framework, *flags, trainer=signalled_while_sampling(number)) == 128 + number
    output, errors = capsys.readouterr()
    go_on = own_command(f"{framework}_impl", "--resume", tmp_path / framework)
    assert f"stopped at step 32 of 32; go on with {go_on}" in output
    assert errors == ""
    status = json.loads((tmp_path / framework / "status.json").read_text())
    assert (status["status"], status["step"], status["epoch"]) == ("interrupted", 32, 1)
    assert not (tmp_path / framework / "samples.npz").exists()
    assert run(framework, f"--resume={tmp_path / framework}") == 0
    assert (tmp_path / framework / "samples.npz").exists()
    assert json.loads((tmp_path / framework / "status.json").read_text())["status"] == "finished"


def test_a_second_signal_does_not_disturb_what_the_first_has_written_down(tmp_path, monkeypatch):
    real = common.training.run.Run.close_interrupted

    def close(self):
        os.kill(os.getpid(), signal.SIGINT)
        real(self)

    monkeypatch.setattr(common.training.run.Run, "close_interrupted", close)
    flags = [*FLAGS, "--epochs=1", f"--output={tmp_path}"]
    assert run("torch", *flags, trainer=signalled_while_sampling(signal.SIGTERM)) in (130, 143)
    assert json.loads((tmp_path / "torch" / "status.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize("number", SIGNALS)
def test_the_exit_code_tells_which_signal_it_was(number, capsys):
    def command() -> int:
        raise Stopped(number)

    assert report_errors("x", command) == 128 + number
    assert capsys.readouterr().err == "x: stopped\n"


@pytest.mark.parametrize("disguise", [ImportError, OSError, UserError])
def test_ctrl_c_is_a_clean_end_even_if_a_library_makes_another_exception_of_it(disguise, capsys):
    def command() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise disguise("half imported") from None
        return 0

    assert report_errors("x", command) == 130
    assert capsys.readouterr().err == "x: stopped\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_closed_terminal_is_nothing_to_a_command_under_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Children() as children:
        os.kill(os.getpid(), signal.SIGHUP)
        children.check()


SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_whoever_was_told_to_stop_starts_nothing_more():
    with Children() as children:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped) as info:
            children.start(SLEEP, 1)
    assert info.value.signal_number == signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_while_a_process_is_started_ends_it(number, monkeypatch):
    class Slow(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(comparison.run_both.subprocess, "Popen", Slow)
    started = time.monotonic()
    with Children() as children:
        assert children.start(SLEEP, 1).wait(timeout=30) != 0
        with pytest.raises(Stopped):
            children.check()
    assert time.monotonic() - started < 30


def told_to_stop(*_: object, **__: object) -> subprocess.Popen[str]:
    """Starts what compare.py wants to, and is told to stop while it runs."""
    os.kill(os.getpid(), signal.SIGTERM)
    return subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_sigterm_while_compare_checks_both_frameworks_is_exit_code_143(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common.training.prepare, "load_training_data", colours)
    monkeypatch.setattr(Children, "start", told_to_stop)
    words = [*FLAGS, f"--output={tmp_path / 'new'}"]
    assert report_errors("compare.py", lambda: run_command(words)) == 143
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", "compare.py: stopped\n")
    assert not (tmp_path / "new").exists()


BEGUN_RUN = """
import sys
from pathlib import Path
Path(sys.argv[1]).mkdir(parents=True)
Path(sys.argv[1], "config.json").touch()
"""


@pytest.mark.parametrize("turns", ["on", "off"])
def test_a_signal_between_the_two_frameworks_starts_no_second_one_and_says_how_to_go_on(
    turns, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "NAME"

    def half(framework: str, *_: object) -> list[str]:
        return [sys.executable, "-c", BEGUN_RUN, str(folder / framework)]

    def signalled_wait(self: subprocess.Popen[str], *arguments: object, **options: object) -> int:
        code = real_wait(self, *arguments, **options)  # pyright: ignore[reportArgumentType]
        os.kill(os.getpid(), signal.SIGTERM)
        return code

    real_wait = subprocess.Popen.wait
    monkeypatch.setattr(common.training.prepare, "load_training_data", colours)
    monkeypatch.setattr(comparison.run_both, "check_both", lambda options, children: None)
    monkeypatch.setattr(comparison.run_both, "child_command", half)
    monkeypatch.setattr(subprocess.Popen, "wait", signalled_wait)
    assert report_errors("compare.py", lambda: run_command([*FLAGS, f"--turns={turns}", f"--output={folder}"])) == 143
    assert [path.name for path in folder.iterdir()] == ["torch"]
    assert f"--resume {folder}" in capsys.readouterr().out


def test_a_signal_while_parity_is_certified_ends_the_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(Children, "start", told_to_stop)
    with pytest.raises(Stopped), Children() as children:
        comparison.parity.find_certificate.climb_quickly(FLAGS, tmp_path / "x.json", children, num_threads=1)
