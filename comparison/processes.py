"""Child processes: how they are started, told to stop, and what they need in their environment."""

import dataclasses
import os
import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import NamedTuple

from common.config import TrainConfig
from common.errors import Stopped
from common.options import DeviceOptions
from common.records.environment import ROOT
from common.stages import Echo
from common.stages.telling import TELLS_VARIABLE, split_line
from common.training.stop_request import SignalWatch

USER_ERROR = 2
# glibc returns large buffers to the kernel after every step and faults them in again at the next; huge pages make
# that cheap for both frameworks alike. It must be in the environment before the process starts.
ALLOCATOR_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class Ended(NamedTuple):
    """A process that has ended: its exit code, and in words why if it failed."""

    code: int
    last_words: str


class Children(SignalWatch):
    """Processes that get each signal once, from us, however it was sent: by Ctrl-C or to our process alone."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: list[subprocess.Popen[str]] = []

    def start(
        self,
        command: list[str],
        num_threads: int,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        extra_environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command outside our process group, so that the terminal's Ctrl-C does not reach it twice.

        Raises `Stopped` if a signal has come: whoever was told to stop starts nothing more.
        """
        self.check()
        environment = child_environment(num_threads) | dict(extra_environment or {})
        process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            errors="backslashreplace",
            process_group=0,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        self._processes.append(process)
        if self.signal_number:  # it came while the process was started, and may not have reached it
            process.terminate()
        return process

    def run(self, command: list[str], num_threads: int, **extra_environment: str) -> Ended:
        """Start a command, and wait for it; raises `Stopped` if a signal has come.

        Of its output only its stages are shown.
        """
        pipe, tells = subprocess.PIPE, {TELLS_VARIABLE: "1"}
        process = self.start(
            command, num_threads, stdout=pipe, stderr=pipe, extra_environment=extra_environment | tells
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr, ThreadPoolExecutor(1) as listener, Echo() as echo:
            errors = listener.submit(process.stderr.read)
            for line in process.stdout:
                echo.hear(split_line(line)[1])
            code = process.wait()
        self.check()
        return Ended(code, last_words(code, errors.result()))

    def check(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.signal_number:
            raise Stopped(self.signal_number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def child_flags(options: DeviceOptions) -> list[str]:
    """Every field of the configuration, where it runs and on what data, as flags."""
    return [*config_flags(options.config), *options.device_flags]


def config_flags(config: TrainConfig) -> list[str]:
    """Every field of the configuration as a flag."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in dataclasses.asdict(config).items()]


def child_environment(num_threads: int) -> dict[str, str]:
    """The environment of either framework's process: our sources, threads that it obeys, the allocator's settings."""
    threads = str(num_threads)
    sources = str(ROOT) if "site-packages" not in ROOT.parts else None  # installed, they are found without help
    places = filter(None, [sources, os.environ.get("PYTHONPATH")])
    return {
        **ALLOCATOR_ENVIRONMENT,
        **os.environ,  # whoever sets one of these by hand means it
        # A child runs the code that its parent runs, whatever lies in the folder it was started from.
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": threads,  # torch
        "PJRT_NPROC": threads,  # JAX on a CPU
        # JAX would take three quarters of a GPU at once, on which PyTorch looks or waits for its turn.
        "XLA_PYTHON_CLIENT_PREALLOCATE": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),
    }


def last_words(code: int, errors: str) -> str:
    """The last line a failed child wrote, without the name of its program."""
    line = (errors.strip().splitlines() or [f"it ended with code {code}"])[-1]
    return re.sub(r"^python (-m \S+|\S+\.py)( \w+)?: ", "", line)
