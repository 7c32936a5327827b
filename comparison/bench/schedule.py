"""Who is measured when: a fresh process for every arm and repetition, one at a time, in an order that cancels drift."""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from common.config import TrainConfig
from common.errors import RunFailedError, UserError
from common.stages import stage
from comparison.bench.options import BenchOptions
from comparison.parity.arms import Arm
from comparison.processes import USER_ERROR, Children, config_flags
from comparison.train_by_epoch import Epoch, train_epochwise


class Named(Protocol):
    """What is measured has a name, by which its progress is told."""

    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=Named)
Anything = TypeVar("Anything")
# Every process compiles for itself, as the first one on a machine does.
CACHE_OFF = {"JAX_ENABLE_COMPILATION_CACHE": "false", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
CACHE_ON = {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def turns(items: Sequence[Anything], num_repetitions: int) -> Iterator[tuple[int, Anything]]:
    """A B, B A, B A, A B, ...: each item once a repetition, so that neither drift nor a place favours one.

    Every second repetition mirrors the one before it, and each pair begins one item later.
    """
    for repetition in range(num_repetitions):
        first = repetition // 2 % len(items)
        order = [*items[first:], *items[:first]]
        for item in order if repetition % 2 == 0 else reversed(order):
            yield repetition, item


class Bench:
    """Starts the measuring processes, where and for as long as the options say."""

    def __init__(self, children: Children, options: BenchOptions, say: Callable[[str], None]) -> None:
        self._children = children
        self.options = options
        self.say = say

    def step(self, arm: Arm, config: TrainConfig, *, cache: Path | None = None) -> dict[str, Any]:
        """One repetition of one arm; `cache` is a folder for JAX's compiled programs, by default there is none."""
        compiled = ["--compile"] if arm.compiled else []
        return self._measure(arm.framework, arm.name, [*config_flags(arm.config(config)), *compiled], cache)

    def roof(self, framework: str) -> dict[str, Any]:
        """GFLOP/s of one framework's matrix multiplication by precision and size, and where it ran."""
        return self._measure(framework, f"the best matrix multiply of {framework}", ["--roof"], None)

    def train(self, arm: Arm, config: TrainConfig, folder: Path, *, num_epochs: int) -> Iterator[Epoch]:
        """Train one arm from the start, a process an epoch, each scored quickly."""
        flags = [flag for flag in config_flags(config) if not flag.startswith("--epochs=")]
        device_flags, half = self.options.device_flags, folder / arm.framework
        yield from train_epochwise(
            arm.framework, flags, half, device_flags=device_flags, num_epochs=num_epochs, run=self._run
        )

    def _run(self, command: list[str]) -> None:
        ended = self._children.run(command, self.options.num_threads, **CACHE_OFF)
        if ended.code != 0:
            raise RunFailedError(ended.last_words)

    def _measure(self, framework: str, name: str, flags: Sequence[str], cache: Path | None) -> dict[str, Any]:
        caching = CACHE_OFF if cache is None else {**CACHE_ON, "JAX_COMPILATION_CACHE_DIR": str(cache)}
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "measured.json"
            command = [sys.executable, "-m", f"{framework}_impl", "measure", f"--json={result}", *flags]
            command += [*self.options.device_flags, *self.options.duration_flags]
            # What torch.compile leaves in the folder for temporary files would be found by the next process.
            ended = self._children.run(command, self.options.num_threads, TMPDIR=folder, **caching)
            if ended.code == USER_ERROR:
                raise UserError(f"{name}: {ended.last_words}")
            if ended.code != 0:
                raise RunFailedError(f"{name} could not be measured: {ended.last_words}")
            return json.loads(result.read_text(encoding="utf-8"))


def repeat(
    items: Sequence[Item], num_repetitions: int, measure: Callable[[Item], dict[str, Any]], say: Callable[[str], None]
) -> list[list[dict[str, Any]]]:
    """Of each item, its repetitions; one may stand in `items` twice, as the control does."""
    found: list[list[dict[str, Any]]] = [[] for _ in items]
    names = ", ".join(dict.fromkeys(item.name for item in items))
    with stage(f"measuring {names}", len(items) * num_repetitions) as parts:
        for repetition, index in turns(range(len(items)), num_repetitions):
            parts.begin(f"repetition {repetition + 1} of {num_repetitions}, {items[index].name}")
            record = measure(items[index])
            found[index].append(record)
            milliseconds = 1e3 * statistics.median(record["block_seconds_per_step"])
            say(f"{parts.part}: {milliseconds:.1f} ms a step")
            parts.advance()
    return found
