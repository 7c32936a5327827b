"""Who has the turn when, and what becomes of a comparison one of whose halves ends early."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import comparison.both_bars
from comparison.both_bars import BothBars
from comparison.processes import Children
from comparison.take_turns import TurnTaking

# A run as its comparison sees it: FAKE NAME LOG EPOCHS [MISHAP]. It notes when it has the turn.
FAKE = r"""
import contextlib, os, sys, time

name, log, epochs, *mishap = sys.argv[1:]

def note(word):
    with open(log, "a") as file:
        file.write(f"{time.monotonic_ns()} {name} {word}\n")

def say(line):
    with contextlib.suppress(BrokenPipeError):  # as the console of a run does
        os.write(1, f"{line}\n".encode())

def take(wanted):
    note("ends")
    say('\x1e{"wants": "%s"}' % wanted)
    if not sys.stdin.readline():
        note("is dismissed")
        sys.exit(143)
    note("begins")

note("begins")
if mishap == ["no start"]:
    print("wrong flags", file=sys.stderr)
    sys.exit(2)
for epoch in range(1, int(epochs) + 1):
    take("epoch")
    if mishap == ["failure"] and epoch == 2:
        print("no memory", file=sys.stderr)
        note("ends")
        sys.exit(1)
    say(f"{name}: epoch {epoch}")
    time.sleep(0.01)
take("finish")
if mishap == ["meets"]:
    until = time.monotonic() + 60
    with open(log + name, "w"):
        pass
    while not os.path.exists(log + {"torch": "jax", "jax": "torch"}[name]) and time.monotonic() < until:
        time.sleep(0.01)
    say(f"{name}: met" if time.monotonic() < until else f"{name}: alone")
say(f"{name}: scored")
note("ends")
"""


class Watched(BothBars):
    """Does something when a line is said."""

    def __init__(self, *, when: str = "", do: Any = None) -> None:
        super().__init__(("torch", "jax"), Console(file=io.StringIO(), width=200))
        self.when, self.do = when, do
        self.said: list[str] = []

    def say(self, words: str, *, is_error: bool = False) -> None:
        super().say(words, is_error=is_error)
        self.said.append(words)
        if words == self.when:
            self.do()


def fakes(log: Path, torch_words: str, jax_words: str) -> dict[str, list[str]]:
    words = {"torch": torch_words, "jax": jax_words}
    start = [sys.executable, "-S", "-c", FAKE]
    return {name: [*start, name, str(log), *text.split(maxsplit=1)] for name, text in words.items()}


def take_turns(commands: dict[str, list[str]], bars: BothBars) -> dict[str, int]:
    with Children() as children, bars:
        return TurnTaking(children, 1, bars).run(commands)


def test_rounds_go_a_b_b_a_and_nobody_computes_while_the_other_has_the_turn(tmp_path):
    bars = Watched()
    assert take_turns(fakes(tmp_path / "log", "3", "3"), bars) == {"torch": 0, "jax": 0}
    epochs = ["torch: epoch 1", "jax: epoch 1", "jax: epoch 2", "torch: epoch 2", "torch: epoch 3", "jax: epoch 3"]
    assert bars.said[:6] == epochs
    assert sorted(bars.said[6:]) == ["jax: scored", "torch: scored"]
    notes = [line.split(maxsplit=2) for line in (tmp_path / "log").read_text().splitlines()]
    in_order = sorted(notes, key=lambda note: int(note[0]))
    in_turns = in_order[:-4]  # all but the scoring of both
    assert [word for _, _, word in in_turns] == ["begins", "ends"] * (2 * 4)
    assert all(begin[1] == end[1] for begin, end in zip(in_turns[::2], in_turns[1::2], strict=True))


def test_both_are_scored_at_the_same_time(tmp_path):
    bars = Watched()
    assert take_turns(fakes(tmp_path / "log", "1 meets", "2 meets"), bars) == {"torch": 0, "jax": 0}
    assert {"torch: met", "jax: met"} <= set(bars.said)


def test_a_half_that_has_more_to_do_goes_on_by_itself_and_both_are_scored_after_it(tmp_path):
    bars = Watched()
    take_turns(fakes(tmp_path / "log", "1", "3"), bars)
    epochs = ["torch: epoch 1", "jax: epoch 1", "jax: epoch 2", "jax: epoch 3"]
    assert bars.said[:4] == epochs
    assert sorted(bars.said[4:]) == ["jax: scored", "torch: scored"]


def test_a_half_that_fails_says_why_and_the_other_goes_on(tmp_path, capsys):
    bars = Watched()
    assert take_turns(fakes(tmp_path / "log", "3 failure", "3"), bars) == {"torch": 1, "jax": 0}
    assert "PyTorch has ended early; JAX / Flax NNX goes on by itself" in bars.said
    assert bars.said[-1] == "jax: scored"
    assert capsys.readouterr().err == "no memory\n"


def test_a_half_that_is_killed_while_it_waits_costs_the_other_nothing(tmp_path):
    def kill() -> None:
        taking.halves[1].process.kill()

    bars = Watched(when="torch: epoch 2", do=kill)
    with Children() as children, bars:
        taking = TurnTaking(children, 1, bars)
        assert taking.run(fakes(tmp_path / "log", "4", "4")) == {"torch": 0, "jax": -signal.SIGKILL}
    assert bars.said[-1] == "torch: scored"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_one_that_computes_and_the_one_that_waits(number, tmp_path):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    bars = Watched(when="jax: epoch 1", do=lambda: os.kill(os.getpid(), number))
    try:
        with Children() as children, bars:
            codes = TurnTaking(children, 1, bars).run(fakes(tmp_path / "log", "1000", "1000"))
            assert children.signal_number == number
    finally:
        signal.signal(signal.SIGINT, previous)
    assert codes.keys() == {"torch", "jax"}
    assert all(code != 0 for code in codes.values())
    assert not any("goes on" in words for words in bars.said)


def test_wrong_flags_of_the_second_half_end_the_first_before_it_trains(tmp_path, capsys):
    bars = Watched()
    assert take_turns(fakes(tmp_path / "log", "3", "3 no start"), bars) == {"torch": 143, "jax": 2}
    assert "epoch" not in " ".join(bars.said)
    assert capsys.readouterr().err == "wrong flags\n"


PARENT = """
import json, sys
from comparison.both_bars import BothBars
from comparison.processes import Children
from comparison.take_turns import TurnTaking
from common.console import make_console
commands = json.loads(sys.argv[1])
with Children() as children, BothBars(commands, make_console()) as bars:
    TurnTaking(children, 1, bars).run(commands)
"""


def test_both_halves_end_when_the_comparison_is_killed(tmp_path):
    commands = json.dumps(fakes(tmp_path / "log", "100000", "100000"))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, commands], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert "jax: epoch 2\n" in iter(parent.stdout.readline, "")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while (tmp_path / "log").read_text().count("is dismissed") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# What a person sees.


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch):
    """A clock that goes on when it is told to."""
    now = [0.0]
    monkeypatch.setattr(comparison.both_bars.time, "monotonic", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def after_three_epochs(later: Any, console: Console) -> BothBars:
    """PyTorch takes 10 s an epoch, JAX 20 s; JAX has begun its fourth."""
    bars = BothBars(("torch", "jax"), console)
    for name in ("torch", "jax"):
        bars.told(name, {"epoch": 0, "num_epochs": 10, "step": 0, "num_steps": 10_000})
    for epoch in (1, 2, 3):
        for name, seconds, speed in (("torch", 10, 12_846.0), ("jax", 20, 6_423.0)):
            bars.turn_begins(name)
            later(seconds)
            losses = {"discriminator_loss": 1.234, "generator_loss": 10.987}
            bars.told(name, {"epoch": epoch, "step": 1000 * epoch, "images_per_second": speed, **losses})
            bars.turn_ends(name)
    return bars


@pytest.mark.parametrize("width", [40, 80])
def test_both_halves_are_seen_at_once_with_the_time_left_of_both(width, later):
    console = Console(file=io.StringIO(), width=width)
    console.print(after_three_epochs(later, console))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    for name, speed in (("PyTorch", "12,846 img/s"), ("JAX / Flax NNX", "6,423 img/s")):
        assert name in text
        assert speed in text
    assert text.count("epoch 3/10") == text.count("D 1.234 G 10.987") == 2
    assert "elapsed 0:01:30  training left 0:03:30" in text
    assert ("━" in text) == (width == 80)


def test_no_time_is_left_that_nobody_knows_and_none_of_a_half_that_has_ended(later):
    bars = BothBars(("torch", "jax"), Console(file=io.StringIO()))
    bars.told("torch", {"epoch": 1, "num_epochs": 2, "step": 50, "num_steps": 100})
    bars.told("jax", {"epoch": 0, "num_epochs": 2, "step": 0, "num_steps": 100})
    assert bars.clock() == "elapsed 0:00:00"
    bars.ended("torch")
    bars.turn_begins("jax")
    later(10)
    bars.told("jax", {"epoch": 1, "step": 25})
    assert bars.clock() == "elapsed 0:00:10  training left 0:00:30"
    bars.told("jax", {"step": 100})
    assert bars.clock() == "elapsed 0:00:10  scoring"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_other_words_stand_above_the_bars_and_where_there_is_no_terminal_alone(is_terminal, later):
    console = Console(file=io.StringIO(), width=80, force_terminal=is_terminal, markup=False, highlight=False)
    with after_three_epochs(later, console) as bars:
        bars.say("Data: 500 [PNG] files")
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Data: 500 [PNG] files\n" in text
    assert ("12,846 img/s" in text) == is_terminal
    if not is_terminal:
        assert text == "Data: 500 [PNG] files\n"
