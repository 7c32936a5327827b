"""A run that takes turns: what it tells, what waiting costs, and how it ends while it waits."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import common.training.turns
from common.records.folder import LOSSES_FILE, STATUS_FILE, TIMING_FILE
from common.stages.telling import MARK
from common.training.turns import Turns
from tests.counting import FLAGS, run

EPOCHS = 3
FLAGS = [*FLAGS, f"--epochs={EPOCHS}"]
ROUNDS = [f"2026-01-05T10:0{number}:00+00:00" for number in range(EPOCHS)]


@pytest.fixture
def hand_turns(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Gives a run that is started next the turns of these rounds; returns where others can be written.

    Whoever closes that place ends the run, and a process that has none by SIGTERM: so it stays open.
    """

    def hand(*rounds: str) -> int:
        reading, writing = os.pipe()
        os.write(writing, "".join(f"{began_at}\n" for began_at in rounds).encode())
        monkeypatch.setattr(common.training.turns, "turns_of_this_process", lambda: Turns(reading))
        return writing

    return hand


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that took no turns."""
    folder = tmp_path_factory.mktemp("alone")
    assert run("torch", *FLAGS, f"--output={folder}") == 0
    return folder / "torch"


def record(folder: Path, name: str) -> dict:
    return json.loads((folder / "torch" / name).read_text())


def test_a_run_in_turns_leaves_the_same_losses_and_says_in_which_round_each_epoch_was(
    alone, hand_turns, tmp_path, capsys
):
    hand_turns(*ROUNDS, "afterwards")
    assert run("torch", *FLAGS, f"--output={tmp_path}") == 0
    assert (tmp_path / "torch" / LOSSES_FILE).read_bytes() == (alone / LOSSES_FILE).read_bytes()
    assert [epoch["round_began_at"] for epoch in record(tmp_path, TIMING_FILE)["epochs"]] == ROUNDS
    lines = capsys.readouterr().out.split("\n")  # to splitlines, the mark is an end too
    told = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    assert [content["wants"] for content in told if "wants" in content] == ["epoch"] * EPOCHS + ["finish"]
    assert told[0] == {"epoch": 0, "num_epochs": EPOCHS, "step": 0, "num_steps": 32 * EPOCHS}
    assert [content["step"] for content in told if "images_per_second" in content] == [16, 32, 48, 64, 80, 96]
    assert sum("PyTorch: epoch" in line for line in lines) == EPOCHS


def test_a_run_by_itself_waits_for_nobody_and_tells_nothing(alone, capsys):
    timing = json.loads((alone / TIMING_FILE).read_text())
    assert "waiting_seconds" not in timing
    assert {epoch["round_began_at"] for epoch in timing["epochs"]} == {None}
    assert run("torch", f"--resume={alone}") == 0
    assert MARK not in capsys.readouterr().out


def test_waiting_is_in_no_other_time_and_costs_no_processor(hand_turns, tmp_path):
    waited_seconds, started = 0.5, time.perf_counter()
    writing = hand_turns(*ROUNDS)
    last_turn = threading.Timer(waited_seconds, os.write, (writing, b"afterwards\n"))
    real_tell = common.training.turns.tell

    def tell(content: dict) -> None:
        if content.get("wants") == "finish":
            last_turn.start()
        real_tell(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common.training.turns, "tell", tell)
        assert run("torch", *FLAGS, f"--output={tmp_path}") == 0
    timing, elapsed = record(tmp_path, TIMING_FILE), time.perf_counter() - started
    assert timing["waiting_seconds"] > 0.9 * waited_seconds
    assert timing["waiting_cpu_seconds"] < 0.2 * waited_seconds
    assert timing["total_seconds"] < elapsed - 0.9 * waited_seconds
    assert timing["training_seconds"] + timing["data_seconds"] + timing["evaluation_seconds"] < timing["total_seconds"]


def test_a_signal_while_a_run_waits_ends_it_at_once_with_all_that_was_done(alone, hand_turns, tmp_path, monkeypatch):
    hand_turns(ROUNDS[0])
    real_tell, wanted = common.training.turns.tell, []

    def tell(content: dict) -> None:
        wanted.append(content.get("wants"))
        if wanted.count("epoch") == 2 and content.get("wants"):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        real_tell(content)

    monkeypatch.setattr(common.training.turns, "tell", tell)
    assert run("torch", *FLAGS, f"--output={tmp_path}") == 128 + signal.SIGTERM
    status = record(tmp_path, STATUS_FILE)
    assert (status["status"], status["step"], status["epoch"]) == ("interrupted", 32, 1)
    monkeypatch.undo()
    assert run("torch", f"--resume={tmp_path / 'torch'}") == 0
    assert (tmp_path / "torch" / LOSSES_FILE).read_bytes() == (alone / LOSSES_FILE).read_bytes()
    epochs = record(tmp_path, TIMING_FILE)["epochs"]
    assert {epoch["round_began_at"] for epoch in epochs} == {None}, "an epoch that is made up for has no partner"


@pytest.mark.parametrize("num_turns", [0, 1])
def test_a_run_whose_comparison_is_gone_ends_as_by_sigterm(num_turns, alone, hand_turns, tmp_path, monkeypatch):
    os.close(hand_turns(*ROUNDS[:num_turns]))
    assert run("torch", *FLAGS, f"--output={tmp_path}") == 128 + signal.SIGTERM
    assert record(tmp_path, STATUS_FILE)["status"] == "interrupted"
    monkeypatch.undo()
    assert run("torch", *FLAGS, f"--resume={tmp_path / 'torch'}") == 0
    assert (tmp_path / "torch" / LOSSES_FILE).read_bytes() == (alone / LOSSES_FILE).read_bytes()
