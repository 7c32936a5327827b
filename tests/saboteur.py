"""Runs a trainer and ends it at a chosen moment: `python -m tests.saboteur torch|jax|counting MOMENT FLAGS`.

A moment is KIND:PATTERN:N. `half`, `whole` and `renamed` kill at the N-th write of a file whose name matches PATTERN:
half-written, written but not renamed, renamed. `chunk::N` kills after the N-th chunk. `full:PATTERN:N` has the disk
full from then on; `none` lets it run through. Only epochs are scored, by pixels: the rest has no part in training.
`counting` is no framework, and its run goes to `torch`: what is written, and when, is the same for every trainer.
"""

import fnmatch
import importlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import common.training.epoch_quality
import common.training.prepare
import common.training.progress
import common.training.run
import common.training.scoring
import tests.counting
from common.commands.dispatch import standalone


def main(trainer: str, moment: str, flags: list[str]) -> int:
    kind, _, rest = moment.partition(":")
    pattern, _, number = rest.partition(":")
    for module in (common.training.prepare, common.training.run, common.training.epoch_quality):
        vars(module)["is_scored"] = lambda dataset: False  # by pixels then, which is quick
    common.training.scoring.NUM_STANDARD = 64
    if kind == "chunk":
        _after_chunk(int(number))
    elif kind != "none":
        _at_write(kind, pattern, int(number))
    if trainer == "counting":
        return tests.counting.run("torch", *flags)
    load_framework = importlib.import_module(f"{trainer}_impl.__main__").load_framework
    return standalone(trainer, load_framework, flags)


def _after_chunk(number: int) -> None:
    done = 0

    def chunk_done(self: Any, **measured: Any) -> None:
        nonlocal done
        done += 1
        if done == number:
            _kill()

    common.training.progress.ConsoleProgress.chunk_done = chunk_done


def _at_write(kind: str, pattern: str, number: int) -> None:
    """Each write syncs its file under a temporary name, renames it, and syncs the folder."""
    real_fsync, real_replace = os.fsync, Path.replace
    seen = 0

    def is_the_moment(name: str) -> bool:
        nonlocal seen
        seen += fnmatch.fnmatch(name, pattern)
        return seen == number and fnmatch.fnmatch(name, pattern)

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_file() and kind in ("half", "full") and is_the_moment(_final_name(path)):
            if kind == "half":
                os.ftruncate(descriptor, path.stat().st_size // 2)
                _kill()
            limit = path.stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            os.pwrite(descriptor, b"\0", limit + 1)  # what the write would have met
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        chosen = kind in ("whole", "renamed") and is_the_moment(Path(target).name)
        if chosen and kind == "whole":
            _kill()
        result = real_replace(self, target)
        if chosen:
            _kill()
        return result

    os.fsync, Path.replace = fsync, replace  # pyright: ignore[reportAttributeAccessIssue]


def _final_name(temporary: Path) -> str:
    """`.losses.csv.123.tmp` becomes losses.csv."""
    return ".".join(temporary.name.removeprefix(".").split(".")[:-2])


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
