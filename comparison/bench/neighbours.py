"""What busy programs beside it cost a training step."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from common.records.folder import FRAMEWORK_NAMES
from comparison.bench import verdicts
from comparison.bench.schedule import Bench, repeat
from comparison.parity.arms import Arm


class Beside(NamedTuple):
    """An arm, and how many busy programs run meanwhile."""

    arm: Arm
    num_neighbours: int

    @property
    def name(self) -> str:
        """For the line that tells of a repetition."""
        return f"{self.arm.name} beside {self.num_neighbours}"


def beside_neighbours(arms: Sequence[Arm], bench: Bench) -> list[dict[str, Any]]:
    """The tuned forms beside none, one, ... busy programs, each relative to the same repetition of it beside none."""
    tuned = [arm for arm in arms if arm.name in FRAMEWORK_NAMES]
    items = [Beside(arm, count) for arm in tuned for count in range(bench.options.neighbours + 1)]
    bench.say(f"Beside up to {bench.options.neighbours} busy programs")

    def measure(item: Beside) -> dict[str, Any]:
        with neighbours(item.num_neighbours):
            return bench.step(item.arm, bench.options.config)

    found = dict(zip(items, repeat(items, bench.options.repetitions, measure, bench.say), strict=True))
    return [
        {
            "num_neighbours": item.num_neighbours,
            "arm": item.arm.name,
            **verdicts.slowdown(records, alone=found[Beside(item.arm, 0)]),
        }
        for item, records in found.items()
    ]


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many programs that compute without end, each in a session of its own, as those of a desktop are."""
    command = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()
