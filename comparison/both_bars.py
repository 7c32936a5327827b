"""What a person sees while both frameworks train: two bars and one clock on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.records.folder import FRAMEWORK_NAMES
from common.stages import drawn_on
from common.stages.bar import BAR_WIDTH, NARROW


@dataclass
class Bar:
    """How far one half is, and the seconds of its turns so far, from which follows when it will be done."""

    title: str
    epoch: int = 0
    num_epochs: int = 0
    step: int = 0
    num_steps: int = 0
    images_per_second: float | None = None
    discriminator_loss: float = 0.0
    generator_loss: float = 0.0
    first_step: int = 0  # of this process
    past_seconds: float = 0.0  # of turns that are over
    turn_began: float | None = None
    has_ended: bool = False

    def seconds_left(self, now: float) -> float | None:
        """Of its training, at its speed so far with all that follows an epoch; None before its first steps."""
        steps_done = self.step - self.first_step
        if self.has_ended or (self.num_steps and self.step == self.num_steps):
            return 0.0
        if steps_done == 0:
            return None
        seconds = self.past_seconds + (now - self.turn_began if self.turn_began is not None else 0.0)
        return (self.num_steps - self.step) * seconds / steps_done

    def cells(self) -> tuple[str, str, str, str]:
        """Title, epoch, speed and losses."""
        if self.images_per_second is None:
            return self.title, "", "starting", ""
        speed = f"{self.images_per_second:,.0f} img/s"
        losses = f"D {self.discriminator_loss:.3f} G {self.generator_loss:.3f}"
        return self.title, f"epoch {self.epoch}/{self.num_epochs}", speed, losses


class BothBars:
    """A context manager, so that the terminal is restored whatever happens."""

    def __init__(self, frameworks: Iterable[str], console: Console) -> None:
        self.console = console
        self.bars = {framework: Bar(FRAMEWORK_NAMES[framework]) for framework in frameworks}
        self._began = time.monotonic()
        self._drawn = ExitStack()

    def __enter__(self) -> Self:
        self._drawn.enter_context(drawn_on(self.console, self))
        return self

    def __exit__(self, *_: object) -> None:
        self._drawn.close()

    def say(self, words: str, *, is_error: bool = False) -> None:
        """A line for people, above the bars."""
        if is_error:
            print(words, file=sys.stderr, flush=True)
        else:
            self.console.print(words, soft_wrap=True)

    def told(self, framework: str, content: Mapping[str, Any]) -> None:
        """What `common/training/turns.py` tells: where a run begins, and each chunk."""
        bar = self.bars[framework]
        for name, value in content.items():
            setattr(bar, name, value)
        if "num_steps" in content:
            bar.first_step = bar.step

    def turn_begins(self, framework: str) -> None:
        """The clock of this half runs."""
        self.bars[framework].turn_began = time.monotonic()

    def turn_ends(self, framework: str) -> None:
        """The clock of this half stands."""
        bar = self.bars[framework]
        if bar.turn_began is not None:
            bar.past_seconds += time.monotonic() - bar.turn_began
            bar.turn_began = None

    def ended(self, framework: str) -> None:
        """Nothing more comes of this half."""
        self.turn_ends(framework)
        self.bars[framework].has_ended = True

    @property
    def whole_time(self) -> str:
        """Of the comparison so far, both halves and all their waiting."""
        return str(timedelta(seconds=int(time.monotonic() - self._began)))

    def clock(self) -> str:
        """Time so far, and what is left of both trainings once both speeds are known."""
        now = time.monotonic()
        left = [bar.seconds_left(now) for bar in self.bars.values()]
        elapsed = f"elapsed {self.whole_time}"
        known = [seconds for seconds in left if seconds is not None]
        if len(known) < len(left):
            return elapsed
        if sum(known) == 0:
            return f"{elapsed}  scoring"
        return f"{elapsed}  training left {timedelta(seconds=int(sum(known)))}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_wide = options.max_width >= NARROW
        table = Table.grid(padding=(0, 2, 0, 0))
        for bar in self.bars.values():
            title, epoch, speed, losses = bar.cells()
            name = Text(title, style="bold" if bar.turn_began is not None else "")
            if is_wide:
                drawn = ProgressBar(total=max(bar.num_steps, 1), completed=bar.step, width=BAR_WIDTH)
                table.add_row(name, drawn, epoch, speed, losses)
            else:
                table.add_row(name, epoch)
                table.add_row(f"  {speed}", losses)
        yield table
        yield Text(self.clock(), no_wrap=True, overflow="ellipsis")
