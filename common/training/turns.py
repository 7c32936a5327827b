"""A run's side of the pipe by which two runs take turns: `comparison/take_turns.py` has the other side.

A process begins with its turn. It gives the turn back on stdout, and waits for the next one in a read of stdin, where
a line comes for each: the moment at which that round began. What is for the other end stands in lines of their own,
a mark and a JSON object, among lines for people. End of file on stdin, where nobody is left to give turns, is SIGTERM.
"""

import os
import queue
import signal
import threading
import time
from typing import Literal

from rich.console import Console

from common.contract import StepMetrics
from common.stages.telling import tell
from common.training.progress import ConsoleProgress
from common.training.stop_request import StopRequest

TURNS_VARIABLE = "DCGAN_TWINS_TURNS"  # set for a process that takes turns; whoever types its command has it alone
EPOCH, FINISH = "epoch", "finish"  # what a turn is for: an epoch with all that follows it, or all after the last one


class Alone:
    """A run that has the machine to itself: it is always its turn."""

    waiting_seconds = 0.0
    num_finishing = 1  # halves that draw and score their samples at the same time

    def take(self, wanted_for: Literal["epoch", "finish"], stop: StopRequest) -> str | None:
        """Nothing to wait for, and no round that could have begun."""

    @property
    def times(self) -> dict[str, float]:
        """What timing.json says of waiting."""
        return {}

    def progress(
        self, title: str, *, num_epochs: int, num_steps: int, first_step: int, console: Console
    ) -> ConsoleProgress:
        """A bar of its own."""
        return ConsoleProgress(title, num_epochs=num_epochs, num_steps=num_steps, console=console)


class Turns(Alone):
    """Gives the turn back and waits for the next; how long that took is in no other time of a run."""

    num_finishing = 2

    def __init__(self, stdin: int = 0) -> None:
        self.waiting_seconds = self.waiting_cpu_seconds = 0.0
        self._stdin = stdin
        self._received: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # the moment of a round; None at the end
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def take(self, wanted_for: Literal["epoch", "finish"], stop: StopRequest) -> str:
        """Give the turn back and wait for another; returns when its round began.

        All that was done is on disk: a signal ends the waiting at once.
        """
        started, cpu_started, was_at_once = time.perf_counter(), time.process_time(), stop.at_once
        stop.at_once = True
        try:
            stop.raise_if_asked()  # nobody has looked since the last step
            if self._listener.ident is None:
                self._listener.start()
            tell({"wants": wanted_for})
            while (round_began_at := self._received.get()) is None:
                pass  # the listener has raised SIGTERM, which ends this
            return round_began_at
        finally:
            stop.at_once = was_at_once
            self.waiting_seconds += time.perf_counter() - started
            self.waiting_cpu_seconds += time.process_time() - cpu_started

    @property
    def times(self) -> dict[str, float]:
        """What timing.json says of waiting."""
        return {"waiting_seconds": self.waiting_seconds, "waiting_cpu_seconds": self.waiting_cpu_seconds}

    def progress(
        self, title: str, *, num_epochs: int, num_steps: int, first_step: int, console: Console
    ) -> ConsoleProgress:
        """No bar, but what the comparison draws both bars from."""
        tell({"epoch": 0, "num_epochs": num_epochs, "step": first_step, "num_steps": num_steps})
        return ToldProgress(title, num_epochs=num_epochs, num_steps=num_steps, console=console)

    def _listen(self) -> None:
        """Also while the run computes, so that it does not go on with an epoch that nobody waits for."""
        line = b""
        while received := os.read(self._stdin, 1024):
            *lines, line = (line + received).split(b"\n")
            for moment in lines:
                self._received.put(moment.decode())
        signal.raise_signal(signal.SIGTERM)
        self._received.put(None)


class ToldProgress(ConsoleProgress):
    """The same lines; what its bar would show is told to the comparison."""

    def __enter__(self) -> "ToldProgress":
        return self

    def chunk_done(self, *, epoch: int, step: int, images_per_second: float, metrics: StepMetrics) -> None:
        losses = {name: float(getattr(metrics, name)[-1]) for name in ("discriminator_loss", "generator_loss")}
        tell({"epoch": epoch, "step": step, "images_per_second": images_per_second, **losses})


def turns_of_this_process() -> Alone:
    """Those of a comparison that has started this process, if one has."""
    return Turns() if TURNS_VARIABLE in os.environ else Alone()
