"""Has Snakemake train the runs of a study: what is finished is left, what failed goes on, whatever was killed.

`python -m comparison.study.engine ARGUMENTS` is Snakemake in a process group of its own with all runs that it starts
on this machine. It stops, and has them save, once its standard input is closed: when it is told to, or when the
process that reads the command line is no more.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from common.errors import Stopped, UserError
from common.records.folder import LOCK_FILE, is_finished, write_atomically
from common.stages import stage
from common.training.stop_request import SignalWatch
from comparison.processes import child_environment
from comparison.study.plan import StudyRun

SNAKEFILE = Path(__file__).with_name("Snakefile")
CONFIG_FILE, LOG_FILE = "snakemake.json", "snakemake.log"
MARKS, LOGS = "finished", "logs"
EXTRA = "dcgan-twins[study]"
LOOK_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 60


class _Watch(SignalWatch):
    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number


def check_engine() -> None:
    """Raise UserError if Snakemake is not installed."""
    try:
        import snakemake  # noqa: F401
    except ImportError as error:
        raise UserError(f"studies are run by what is not installed ({error}): pip install '{EXTRA}'") from None


def train(
    folder: Path, runs: Sequence[StudyRun], *, cores: int, threads: int, flags: str, executor: str, profile: Path | None
) -> bool:
    """Train what is not finished of these runs; whether all are now. Raises `Stopped` if a signal came.

    UserError if another process works on the study.
    """
    with locked(folder):
        for run in runs:
            if not is_finished(folder / run.folder):  # the run folder is the truth, whatever Snakemake remembers
                (folder / MARKS / run.folder).unlink(missing_ok=True)
    config = {"runs": [str(run.folder) for run in runs], "threads": threads, "flags": flags}
    write_atomically(folder / CONFIG_FILE, json.dumps(config | {"python": shlex.quote(sys.executable)}).encode())
    command = snakemake_command(folder, cores=cores, executor=executor, profile=profile)
    with _Watch() as watch, (folder / LOG_FILE).open("ab") as log:
        environment = child_environment(threads)
        with (
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, process_group=0
            ) as process,
            stage("training the seeds", len(runs)) as parts,
        ):
            assert process.stdin is not None
            while process.poll() is None:
                if watch.signal_number:
                    process.stdin.close()
                parts.advance(to=count_finished(folder, runs))
                time.sleep(LOOK_EVERY_SECONDS)
            parts.advance(to=count_finished(folder, runs))
        with contextlib.suppress(ProcessLookupError):  # what it leaves behind, if it was killed
            os.killpg(process.pid, signal.SIGTERM)
    if watch.signal_number:
        raise Stopped(watch.signal_number)
    return count_finished(folder, runs) == len(runs)


def snakemake_command(folder: Path, *, cores: int, executor: str, profile: Path | None) -> list[str]:
    """How the engine is called; beyond one machine, `cores` limits the jobs at once."""
    at_once = [f"--cores={cores or 'all'}"] if executor == "local" else [f"--jobs={cores or 'unlimited'}"]
    return [
        *(sys.executable, "-m", "comparison.study.engine"),
        *("--snakefile", str(SNAKEFILE), "--directory", str(folder.absolute())),
        *("--configfile", str(folder.absolute() / CONFIG_FILE)),
        *("--executor", executor, *at_once),
        *(("--workflow-profile", str(profile.absolute())) if profile else ()),
        *("--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime"),
        "--nolock",  # which would stay after a kill: ours does not
    ]


def count_finished(folder: Path, runs: Sequence[StudyRun]) -> int:
    """How many of these runs are."""
    return sum(is_finished(folder / run.folder) for run in runs)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, no other process works on the study; an engine that was just told to stop is given time to save."""
    with (folder / LOCK_FILE).open("ab") as lock:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"{folder} is in use by another process: wait for it, or end it") from None
            time.sleep(LOOK_EVERY_SECONDS)
        yield


def _stop_with_input() -> None:
    """Wait for the end of what was standard input, then interrupt the whole process group."""
    pipe = os.dup(0)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)  # no run must read it

    def wait() -> None:
        os.read(pipe, 1)
        os.killpg(0, signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Snakemake's exit code."""
    from snakemake.cli import main as run_snakemake

    with locked(Path(arguments[arguments.index("--directory") + 1])):
        _stop_with_input()
        run_snakemake(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
