"""How long PyTorch's threads wait for each other awake: briefly, and hardly at all beside a busy program.

A thread that waits awake keeps its core. Beside a busy program, the system runs two threads of a team on one core.
There one spins to the end of its slice while the other has the work: 30 times slower (docs/decisions/0027-waiting.md).
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPIN_COUNT = "GOMP_SPINCOUNT"
BRIEFLY = "10000"  # a tenth of a millisecond; alone on their cores, threads of a training step wait no longer
CHOSEN_BY_HAND = (SPIN_COUNT, "OMP_WAIT_POLICY")
STATISTICS = Path("/proc/thread-self/schedstat")  # nanoseconds: on a core, and ready but waiting for one
MAX_SHARE_DELAYED = 0.05  # of the time; alone it is a thousandth


class Waiting:
    """What is left as it is elsewhere than on Linux, with another OpenMP than GNU's, or where it was chosen by hand."""

    def __init__(self) -> None:
        self._is_ours = False
        self._crowd: threading.Event | None = None

    @contextmanager
    def brief(self) -> Iterator[None]:
        """PyTorch is to be imported within: its OpenMP reads the variable then, and other libraries' must not."""
        is_free = not any(name in os.environ for name in CHOSEN_BY_HAND)
        if not is_free or "torch" in sys.modules or not STATISTICS.exists():
            yield
            return
        os.environ[SPIN_COUNT] = BRIEFLY
        try:
            yield
        finally:
            del os.environ[SPIN_COUNT]
        self._is_ours = True

    @contextmanager
    def adapted(self) -> Iterator[None]:
        """While PyTorch computes, see whether its thread has to wait for a core: what follows is adapted to that."""
        if not self._is_ours:
            yield
            return
        started, delay = time.perf_counter_ns(), delay_nanoseconds()
        yield
        share = (delay_nanoseconds() - delay) / (time.perf_counter_ns() - started)
        if share > MAX_SHARE_DELAYED and self._crowd is None:
            self._crowd = crowd()
        elif share <= MAX_SHARE_DELAYED and self._crowd is not None:
            self._crowd.set()
            self._crowd = None


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
