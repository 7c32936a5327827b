"""Times every arm in one run: a process each, all kept alive, one computing at a time, blocks of steps in turns."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from common.errors import RunFailedError
from common.records.environment import default_num_threads, describe_environment, hash_of_sources
from comparison.bench.schedule import CACHE_OFF, turns
from comparison.peers.catalogue import ARMS, BATCH_SIZE
from comparison.processes import Children

NUM_ROUNDS = 12
NUM_WARM_UP_ROUNDS = 1
STEPS_PER_BLOCK = 8


class Worker:
    """One arm's process, which computes only while it is asked."""

    def __init__(self, name: str, children: Children, num_threads: int) -> None:
        self._name = name
        command = [sys.executable, "-m", "comparison.peers.block", name]
        pipe = subprocess.PIPE
        self.process = children.start(command, num_threads, stdin=pipe, stdout=pipe, extra_environment=CACHE_OFF)
        self._answer()

    def seconds(self, num_steps: int) -> float:
        """How long so many steps take, with their data."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{num_steps}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise RunFailedError(f"{self._name} ended early: its last words stand above")
        return line


def measure(children: Children, say: Callable[[str], None]) -> dict[str, Any]:
    """The seconds of each arm's blocks, and where they were measured; minutes."""
    num_threads, environment = default_num_threads(), describe_environment()
    with ExitStack() as stack:
        workers = {}
        for name in ARMS:
            workers[name] = Worker(name, children, num_threads)
            stack.enter_context(workers[name].process)  # which closes its stdin, so that it ends
            workers[name].seconds(STEPS_PER_BLOCK)  # alone in it: what compiles, and threads that start
        blocks: dict[str, list[float]] = {name: [] for name in ARMS}
        for number, name in turns(list(ARMS), NUM_WARM_UP_ROUNDS + NUM_ROUNDS):
            children.check()
            seconds = workers[name].seconds(STEPS_PER_BLOCK)
            say(f"round {number}, {name}: {1e3 * seconds / STEPS_PER_BLOCK:.1f} ms a step")
            if number >= NUM_WARM_UP_ROUNDS:
                blocks[name].append(seconds / STEPS_PER_BLOCK)
    return {
        "batch_size": BATCH_SIZE,
        "steps_per_block": STEPS_PER_BLOCK,
        "num_threads": num_threads,
        "block_seconds_per_step": blocks,
        "sources": hash_of_sources("comparison/peers", "common", "torch_impl", "jax_impl"),
        "environment": environment,
    }
