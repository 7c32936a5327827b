"""One stage: its count, its time left, and how both are drawn."""

import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 12
NARROW = 76  # columns below which what belongs together takes two lines, and has no bar


class Stage:
    """Work of `total` parts, of which `done` are done; `part` says which one is at hand, if it has a name."""

    def __init__(self, name: str, total: int, changed: Callable[["Stage"], None]) -> None:
        assert total > 0, name
        self.name = name
        self.total = total
        self.part = ""
        self.done = 0.0
        self.began = self._advanced = time.monotonic()
        self._last_parts = 1.0
        self._changed = changed

    def begin(self, part: str) -> None:
        """Say what is done next."""
        self.part = part
        self._changed(self)

    def advance(self, parts: float = 1, *, to: float | None = None) -> None:
        """So many parts more are done, or as many as are given `to`."""
        before, self.done = self.done, min(self.done + parts if to is None else to, float(self.total))
        self._last_parts, self._advanced = self.done - before, time.monotonic()
        self._changed(self)

    @property
    def title(self) -> str:
        """The name, and the part that is at hand."""
        return f"{self.name}: {self.part}" if self.part else self.name

    @property
    def share(self) -> float:
        """What is done of the whole, 0 to 1."""
        return self.done / self.total

    def seconds_left(self, now: float) -> float | None:
        """At the speed so far; None before anything is done. Never less than what comes after the part at hand."""
        if not self.done:
            return None
        seconds_per_part = (self._advanced - self.began) / self.done
        after_this_part = self.total - min(self.done + self._last_parts, self.total)
        left = seconds_per_part * (self.total - self.done) - (now - self._advanced)
        return max(left, seconds_per_part * after_this_part)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        seconds = self.seconds_left(time.monotonic())
        count = f"{int(self.done):,} of {self.total:,}"
        left = "" if seconds is None else f"left {timedelta(seconds=int(seconds))}"
        title = Text(self.title, style="bold")
        if options.max_width < NARROW:
            title.truncate(options.max_width, overflow="ellipsis")
            yield title
            yield Text(f"  {count}  {left}".rstrip(), no_wrap=True, overflow="ellipsis")
            return
        title.truncate(options.max_width - BAR_WIDTH - len(count) - len(left) - 6, overflow="ellipsis")
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_row(title, ProgressBar(total=1.0, completed=self.share, width=BAR_WIDTH), count, left)
        yield table
