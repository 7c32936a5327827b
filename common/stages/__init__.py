"""Whatever takes long says how far it is: a bar and the time left on a terminal, one line at its end elsewhere.

    with stage("scoring the samples", 3) as parts:
        for draw in draws:
            score(draw)
            parts.advance()

Where stages are shown is a matter of the process, like where its log goes: `shown_on` decides. Nowhere, by default.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from rich.console import Console, RenderableType

from common.console import make_console
from common.stages.bar import Stage
from common.stages.displays import Nowhere, OnConsole
from common.stages.telling import TELLS_VARIABLE, ToParent

Item = TypeVar("Item")
_display: Nowhere = Nowhere()


@contextmanager
def shown_on(console: Console, *, prefix: str = "") -> Iterator[Nowhere]:
    """Within, stages are shown on this console, their names after the prefix; or told to the process above."""
    global _display
    before = _display
    if before.console is console and not prefix:
        yield before
        return
    _display = (ToParent if TELLS_VARIABLE in os.environ else OnConsole)(console, prefix)
    try:
        yield _display
    finally:
        _display.close()
        _display = before


@contextmanager
def drawn_on(console: Console, what: RenderableType) -> Iterator[None]:
    """Within, this is drawn above the stages: another kind of bar."""
    with shown_on(console) as display:
        display.draw(what)
        try:
            yield
        finally:
            display.erase(what)


def stage_console() -> Console:
    """The console that stages are shown on, which lines must go to as well; a new one where there is none."""
    return _display.console or make_console()


@contextmanager
def stage(name: str, total: int) -> Iterator[Stage]:
    """Work of `total` parts, at least one."""
    display = _display
    begun = Stage(name, total, display.changed)
    display.began(begun)
    is_whole = False
    try:
        yield begun
        is_whole = True
    finally:
        display.ended(begun, is_whole=is_whole)


def in_stage(items: Iterable[Item], name: str, total: int) -> Iterator[Item]:
    """The items of a stage, `total` of them: each is done when the next one is asked for."""
    if not total:
        return
    with stage(name, total) as parts:
        for item in items:
            yield item
            parts.advance()


class Echo:
    """Shows the stages of another process as if they were of this one; what is open when it ends was not done."""

    def __init__(self) -> None:
        self._open: dict[int, Stage] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hear(self, content: Mapping[str, Any]) -> None:
        """What it tells; anything but stages is passed over."""
        told = content.get("stage")
        if told is None:
            return
        if "name" in told:
            begun = Stage(told["name"], told["total"], _display.changed)
            self._open[told["id"]] = begun
            _display.began(begun)
        elif "done" in told:
            self._open[told["id"]].part = told["part"]
            self._open[told["id"]].advance(to=told["done"])
        else:
            _display.ended(self._open.pop(told["id"]), is_whole=told["is_whole"])

    def close(self) -> None:
        """Nothing more is heard."""
        while self._open:
            _display.ended(self._open.popitem()[1], is_whole=False)
