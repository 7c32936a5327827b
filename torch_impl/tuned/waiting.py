"""How long PyTorch's threads wait for each other awake: as long as ever, and hardly at all beside a busy program.

A thread that waits awake keeps its core. Beside a busy program, the system runs two threads of a team on one core.
There one spins to the end of its slice while the other has the work: 30 times slower (docs/decisions/0027-waiting.md).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHOSEN_BY_HAND = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
STATISTICS = Path("/proc/thread-self/schedstat")  # nanoseconds: on a core, and ready but waiting for one
MAX_SHARE_DELAYED = 0.2  # of the time; beside a busy program a third or more, alone a hundredth
JUDGED_SECONDS, CALM_SECONDS = 0.2, 2.0  # a bar that is drawn delays one step; one calm step beside a program is luck


class Waiting:
    """Looks whether the thread that computes has to wait for a core, and has its team wait more briefly while it has.

    Only on Linux: elsewhere PyTorch has another OpenMP than GNU's. What was chosen by hand stays.
    """

    def __init__(self) -> None:
        self._is_ours = STATISTICS.exists() and not any(name in os.environ for name in CHOSEN_BY_HAND)
        self._crowd: threading.Event | None = None
        self._elapsed = self._delayed = self._calm = 0  # nanoseconds

    @contextmanager
    def adapted(self) -> Iterator[None]:
        """While PyTorch computes, see whether its thread has to wait for a core: what follows is adapted to that."""
        if not self._is_ours:
            yield
            return
        started, delayed = time.perf_counter_ns(), delay_nanoseconds()
        yield
        self._elapsed += time.perf_counter_ns() - started
        self._delayed += delay_nanoseconds() - delayed
        if self._elapsed >= JUDGED_SECONDS * 1e9:
            self._judge()

    def _judge(self) -> None:
        if self._delayed > MAX_SHARE_DELAYED * self._elapsed:
            self._calm = 0
            self._crowd = self._crowd or crowd()
        else:
            self._calm += self._elapsed
            if self._crowd is not None and self._calm >= CALM_SECONDS * 1e9:
                self._crowd.set()
                self._crowd = None
        self._elapsed = self._delayed = 0


WAITING = Waiting()


def delay_nanoseconds() -> int:
    """How long this thread has been ready to run, in all, without a core to run on."""
    return int(STATISTICS.read_text().split()[1])


def crowd() -> threading.Event:
    """A second team, asleep until the event is set: GNU's OpenMP waits shortest when it has more threads than cores."""
    import torch

    leaves = threading.Event()

    def sleep() -> None:
        torch.zeros(1 << 20).add_(1)  # large enough for a team
        leaves.wait()

    threading.Thread(target=sleep, name="crowd", daemon=True).start()
    return leaves
