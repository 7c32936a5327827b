"""A mistake in a command's flags is one plain line that says what to do, whatever the parser drew around it."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from common.commands.dispatch import TWIN_COMMANDS, standalone
from common.contract import Framework
from common.errors import UserError
from common.options import parse
from common.options.mistakes import in_plain_words


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A command with one flag of each kind."""

    place: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PLACE")]
    """Where, in words that are many enough for a second line of help: of a help text, nothing is to be said."""
    out: Path
    """A file."""
    num: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """How many."""
    epochs: int = 10
    """Passes."""
    learning_rate: float = 0.1
    """A step."""
    variant: Literal["tuned", "idiomatic"] = "tuned"
    """Which."""
    draw: bool = True
    """Whether."""


MISTAKES = {
    "a fraction where a number may be left out": (["--num", "3.5"], "--num is 3.5: pass a whole number"),
    "a fraction where a number is needed": (["--epochs", "3.5"], "--epochs is 3.5: pass a whole number"),
    "a word for a number": (["--learning-rate", "fast"], "--learning-rate is fast: pass a number"),
    "no value": (["--epochs"], "--epochs has no value: add one"),
    "an unknown choice": (["--variant", "fast"], "--variant is fast: choose tuned, idiomatic"),
    "a flag nearly right": (["--epoch", "3"], "--epoch is unknown: did you mean --epochs?"),
    "two such flags": (["--epoch", "3", "--learning", "1"], "--epoch is unknown: did you mean --epochs?"),
    "a flag like none": (["--zzz=3"], "--zzz is unknown: leave it out"),
    "a switch that is on": (["--draw"], "--draw is unknown: did you mean --no-draw?"),
    "a word too many": (
        ["more"],
        "more is one word too many: leave it out, or put words that belong together in quotes",
    ),
    "a long word too many": (
        ["/a" * 60],
        f"{'/a' * 60} is one word too many: leave it out, or put words that belong together in quotes",
    ),
}


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_each_mistake_is_named_with_what_to_do_in_any_terminal(columns, encoding, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))  # no boxes in latin-1
    for case, (words, said) in MISTAKES.items():
        with pytest.raises(UserError) as error:
            parse(Drawing, ["here", "--out=x", *words], program="draw")
        assert str(error.value) == f"{said} (see draw --help)", case


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here"], "--out PATH is missing: add it"),
        ([], "PLACE and --out PATH are missing: add them"),
        (["here", "--outt", "x.png"], "--outt is unknown: did you mean --out?"),
        (["--zzz", "--out=x"], "PLACE is missing: add it"),
    ],
)
def test_what_is_missing_is_named_without_its_help(words, said):
    with pytest.raises(UserError) as error:
        parse(Drawing, words, program="draw")
    assert str(error.value) == f"{said} (see draw --help)"


def test_a_kind_that_is_not_known_keeps_the_parsers_own_words():
    box = "╭─ Value error ─╮\n│ Error parsing RunOptions: two │\n│ are too many. │\n╰───────────────╯"
    assert in_plain_words(box, []) == "two are too many"
    assert in_plain_words("", []) == ""


def no_framework() -> Framework:
    raise AssertionError("it needs no framework")


def test_a_misspelt_command_is_answered_with_the_one_it_is_like(capsys):
    assert standalone("torch", no_framework, ["sampel", "run"]) == 2
    message = capsys.readouterr().err
    assert message == (
        f"python -m torch_impl: sampel is unknown: did you mean sample? There are {', '.join(TWIN_COMMANDS)}\n"
    )
    assert standalone("torch", no_framework, ["xyz"]) == 2
    assert "xyz is unknown: choose train, sample," in capsys.readouterr().err
