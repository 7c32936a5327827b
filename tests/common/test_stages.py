"""How far a long piece of work is: on a terminal, in a log, and in the process that started the one that works."""

import io
import json
import re
from collections.abc import Callable

import pytest
from rich.console import Console

import common.stages.bar
import common.stages.displays
from common.console import make_console
from common.stages import Echo, in_stage, shown_on, stage, stage_console
from common.stages.telling import MARK, TELLS_VARIABLE, split_line

COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-9]|4[0-9]|9[0-7]|10[0-7])(;[0-9;]*)?m")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that goes on when it is told to."""
    now = [0.0]
    monkeypatch.setattr(common.stages.bar.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(common.stages.displays, "MIN_SECONDS", 2.0)

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def terminal(width: int = 80, **environment: str) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, _environ={"TERM": "xterm-256color", **environment}
    )


def log() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def work(later: Callable[[float], None], console: Console, *, name: str = "scoring the samples") -> None:
    with shown_on(console), stage(name, 4) as parts:
        for _ in range(3):
            later(10)
            parts.advance()


@pytest.mark.parametrize("width", [40, 80])
def test_a_terminal_shows_name_count_and_time_left(width, later):
    console = terminal(width)
    work(later, console)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(console))
    for words in ("Scoring the samples", "3 of 4", "left 0:00:10"):
        assert words in text
    assert all(len(line) <= width for line in re.split(r"[\r\n]", text))
    assert ("━" in text) == (width == 80)


@pytest.mark.parametrize("width", [40, 80])
def test_a_long_name_gives_way_to_the_count(width, later):
    console = terminal(width)
    work(later, console, name="looking at " + "very " * 20 + "much")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(console))
    assert "…" in text
    assert "3 of 4  left 0:00:10" in text
    assert all(len(line) <= width for line in re.split(r"[\r\n]", text))


def test_nothing_of_a_stage_stays_on_a_terminal(later):
    console = terminal()
    work(later, console)
    assert "took" not in written(console)
    assert written(console).endswith("\x1b[1A\x1b[2K")


def test_without_colours_there_is_none_of_them(later):
    plain, coloured = terminal(NO_COLOR="1"), terminal()
    for console in (plain, coloured):
        work(later, console)
    assert COLOUR.search(written(coloured))
    assert not COLOUR.search(written(plain))


@pytest.mark.parametrize("console", [log(), terminal(TERM="dumb")], ids=["log", "dumb terminal"])
def test_elsewhere_a_stage_is_one_plain_line_at_its_end(console, later):
    work(later, console)
    assert written(console) == "Scoring the samples took 0:00:30\n"


def test_a_stage_within_another_and_a_short_one_leave_no_line(later):
    console = log()
    with shown_on(console), stage("scoring", 1):
        with stage("drawing", 1):
            later(10)
        with stage("writing", 1):
            later(20)
    with shown_on(console), stage("looking", 1):
        later(1.9)
    assert written(console) == "Scoring took 0:00:30\n"


def test_a_stage_that_fails_leaves_no_line_and_a_clean_terminal(later):
    for console, end in ((log(), ""), (terminal(), "\x1b[2K")):
        with pytest.raises(ValueError, match="zip"), shown_on(console):
            list(zip(in_stage("abc", "scoring", 3), "a", strict=True))
        assert "took" not in written(console)
        assert written(console).endswith(end)


def test_lines_that_are_printed_stand_above_a_bar(later):
    console = terminal()
    with shown_on(console), stage("climbing", 2):
        assert stage_console() is console
        stage_console().print("one rung holds")
        stage_console().print("another rung holds")
    assert re.search(r"\x1b\[2Kanother rung holds\n.*Climbing", written(console), re.DOTALL)


def test_nothing_is_shown_where_nobody_asked_for_it(capsys):
    assert list(in_stage([1, 2], "scoring", 2)) == [1, 2]
    assert list(in_stage([], "scoring", 0)) == []
    assert capsys.readouterr() == ("", "")


def test_the_time_left_goes_on_with_the_clock(later):
    with stage("climbing", 4) as parts:
        now = common.stages.bar.time.monotonic
        later(5)
        assert parts.seconds_left(now()) is None
        parts.advance()
        assert parts.seconds_left(now()) == 15
        later(3)
        assert parts.seconds_left(now()) == 12
        later(100)  # the second part takes longer than it should: two others are still to come
        assert parts.seconds_left(now()) == 10
        parts.advance(0.5)
        assert parts.share == pytest.approx(0.375)


def test_a_process_tells_its_stages_and_its_parent_shows_them(later, monkeypatch, capsys):
    monkeypatch.setenv(TELLS_VARIABLE, "1")
    with shown_on(make_console(), prefix="PyTorch: "), stage("scoring", 1000) as parts:
        parts.begin("the first draw")
        for _ in range(1000):
            parts.advance()
    monkeypatch.delenv(TELLS_VARIABLE)
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert all(line.startswith(MARK) for line in lines)
    assert 100 <= len(lines) <= 104
    console = terminal()
    with shown_on(console), Echo() as echo:
        for line in lines[:-1]:
            echo.hear(split_line(line)[1])
        later(10)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(console))
    assert re.search(r"PyTorch: scoring: the first draw +━+ +1,000 of 1,000", text)
    assert "took" not in text


def test_a_parent_whose_output_is_a_log_prints_the_line_once_the_stage_is_told_to_be_over(later):
    console = log()
    with shown_on(console), Echo() as echo:
        echo.hear({"stage": {"id": 1, "name": "climbing the ladder", "total": 2}})
        later(240)
        assert written(console) == ""
        echo.hear({"stage": {"id": 1, "is_whole": True}})
        echo.hear({"wants": "epoch"})
    assert written(console) == "Climbing the ladder took 0:04:00\n"


def test_a_line_may_have_words_for_people_and_something_to_tell():
    told = MARK + json.dumps({"wants": "epoch"})
    assert split_line("words\n") == ("words", {})
    assert split_line("\n") == ("", {})
    assert split_line(told) == (None, {"wants": "epoch"})
    assert split_line("words" + told) == ("words", {"wants": "epoch"})
