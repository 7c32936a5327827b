"""Where stages are shown: nowhere, or on a console."""

import sys
import time
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live

from common.console import draws_bars
from common.stages.bar import Stage

REFRESHES_PER_SECOND = 1  # of what is drawn beside steps that are timed
MIN_SECONDS = 2.0  # of a stage that is worth a line in a log


class Nowhere:
    """Shows nothing: a program that uses this as a library is not written into."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console

    def began(self, stage: Stage) -> None:
        """It is the innermost one now."""

    def changed(self, stage: Stage) -> None:
        """It got on."""

    def ended(self, stage: Stage, *, is_whole: bool) -> None:
        """It is over, whole or with an error."""

    def draw(self, what: RenderableType) -> None:
        """Something that moves, until it is erased."""

    def erase(self, what: RenderableType) -> None:
        """It leaves nothing."""

    def close(self) -> None:
        """Erase what is still drawn: an error may have left it, and is told next."""


class OnConsole(Nowhere):
    """One live region for all that is drawn at once, below what is printed; lines where no bars can be drawn."""

    def __init__(self, console: Console, prefix: str) -> None:
        super().__init__(console)
        self._console = console
        self._prefix = prefix
        self._drawn: list[RenderableType] = []
        self._live: Live | None = None

    def began(self, stage: Stage) -> None:
        """Draw it below those around it."""
        name = f"{self._prefix}{stage.name}"
        stage.name = name[0].upper() + name[1:]
        self.draw(stage)

    def ended(self, stage: Stage, *, is_whole: bool) -> None:
        """Nothing is left of it on a terminal; elsewhere a line, unless it was a part of another one."""
        is_outermost = not any(isinstance(other, Stage) for other in self._drawn if other is not stage)
        self.erase(stage)
        seconds = time.monotonic() - stage.began
        if is_whole and is_outermost and seconds >= MIN_SECONDS and not draws_bars(self._console):
            self._console.print(f"{stage.name} took {timedelta(seconds=int(seconds))}", soft_wrap=True)

    def draw(self, what: RenderableType) -> None:
        """Below what is drawn already."""
        self._drawn.append(what)
        if self._live is None and draws_bars(self._console):
            self._live = Live(
                get_renderable=lambda: Group(*self._drawn),
                console=self._console,
                transient=True,
                refresh_per_second=REFRESHES_PER_SECOND,
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start()

    def erase(self, what: RenderableType) -> None:
        """The terminal is as it was once nothing is drawn any more."""
        if self._drawn == [what]:
            self.close()
        elif what in self._drawn:
            self._drawn.remove(what)

    def close(self) -> None:
        """The terminal is as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._drawn.clear()
