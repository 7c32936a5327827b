"""Runs both implementations, each in its own process, one after the other, with the same threads and environment."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from common.config import TrainConfig
from common.errors import RunFailedError, Stopped, UserError
from common.options import RunOptions
from common.records import CONFIG_FILE, FRAMEWORK_NAMES, RunFolder, is_blank, read_status
from common.resume import check_same_config, find_origin
from common.untrusted import unreadable_is_named

FRAMEWORKS = tuple(FRAMEWORK_NAMES)
USER_ERROR = 2

# glibc returns large buffers to the kernel after every step and faults them in again at the next; huge pages make
# that cheap for both frameworks alike. It must be in the environment before the process starts.
ALLOCATOR_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def run_both(options: RunOptions, folder: Path) -> int:
    """Train PyTorch, then JAX, into `folder`; returns the first exit code that is not 0.

    Both are checked before either trains, so that a missing framework or device is known at once.
    """
    unfinished = unfinished_halves(options, folder)
    with Children() as children:
        _check_both(options, children)
        check_writable(folder)
        for framework in unfinished:
            process = children.start(child_command(framework, options, folder), options.num_threads)
            code = process.wait()
            if children.signal_number:
                return 128 + children.signal_number
            if code == USER_ERROR:  # the child has said what to do
                return code
            if code != 0:
                raise RunFailedError(_post_mortem(framework, code, folder))
    return 0


def unfinished_halves(options: RunOptions, folder: Path) -> list[str]:
    """Frameworks that are still to train: both, or what is left to do of the comparison that is resumed."""
    with unreadable_is_named(folder):
        return _unfinished_halves(options, folder)


def _unfinished_halves(options: RunOptions, folder: Path) -> list[str]:
    if options.resume is None:
        if any(not is_blank(folder / framework) for framework in FRAMEWORKS if (folder / framework).exists()):
            raise UserError(
                f"{folder} already holds a comparison: choose another --output, remove it first, or go on with --resume"
            )
        return list(FRAMEWORKS)
    if not any((folder / framework / CONFIG_FILE).exists() for framework in FRAMEWORKS):
        raise UserError(
            f"{folder} holds no comparison: name a folder with {' or '.join(FRAMEWORKS)} in it, or resume one half "
            "with python -m torch_impl or python -m jax_impl"
        )
    unfinished = []
    for framework in FRAMEWORKS:
        if not (folder / framework / CONFIG_FILE).exists():
            unfinished.append(framework)
            continue
        origin = find_origin(folder / framework)
        check_same_config(options.config, origin)
        finished = read_status(folder / framework)["status"] == "finished"
        if not finished or origin.config != options.config:
            unfinished.append(framework)
    return unfinished


class Children:
    """Processes that get each signal once, from us, however it was sent: by Ctrl-C or to our process alone."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._processes: list[subprocess.Popen[str]] = []
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._forward)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def start(
        self,
        command: list[str],
        num_threads: int,
        *,
        stdout: int | None = None,
        stderr: int | None = None,
        extra_environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command outside our process group, so that the terminal's Ctrl-C does not reach it twice.

        Raises `Stopped` if a signal has come: whoever was told to stop starts nothing more.
        """
        self.check()
        environment = child_environment(num_threads) | dict(extra_environment or {})
        process = subprocess.Popen(command, env=environment, text=True, process_group=0, stdout=stdout, stderr=stderr)
        self._processes.append(process)
        if self.signal_number:  # it came while the process was started, and may not have reached it
            process.terminate()
        return process

    def check(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.signal_number:
            raise Stopped(self.signal_number)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def child_command(framework: str, options: RunOptions, folder: Path) -> list[str]:
    """The standalone command that makes one half of the comparison; it can be typed by hand too."""
    half = folder / framework
    place = f"--resume={half}" if (half / CONFIG_FILE).exists() else f"--output={folder}"
    scoring = [f"--draws={options.draws}", *(["--quick-scoring"] if options.quick_scoring else [])]
    return [sys.executable, "-m", f"{framework}_impl", *child_flags(options), *scoring, place]


def child_flags(options: RunOptions) -> list[str]:
    """Every field of the configuration, where it runs and on what data, as flags."""
    flags = config_flags(options.config)
    flags += [f"--device={options.device}", f"--threads={options.num_threads}"]
    if options.data_dir is not None:
        flags.append(f"--data-dir={options.data_dir}")
    return flags


def config_flags(config: TrainConfig) -> list[str]:
    """Every field of the configuration as a flag."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in dataclasses.asdict(config).items()]


def child_environment(num_threads: int) -> dict[str, str]:
    """The same for both: thread counts each framework obeys, and the allocator's settings."""
    threads = str(num_threads)
    return {
        **ALLOCATOR_ENVIRONMENT,
        **os.environ,  # whoever sets one of these by hand means it
        "OMP_NUM_THREADS": threads,  # torch
        "PJRT_NPROC": threads,  # JAX on a CPU
    }


def _check_both(options: RunOptions, children: Children) -> None:
    checks = [
        children.start(
            [*child_command(framework, options, Path("unused")), "--dry-run"],
            options.num_threads,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for framework in FRAMEWORKS
    ]
    printed = [check.communicate() for check in checks]
    children.check()
    for check, (_, errors) in zip(checks, printed, strict=True):
        if check.returncode != 0:
            raise UserError(last_words(check, errors))
    check_devices({name: output.splitlines()[-1] for name, (output, _) in zip(FRAMEWORK_NAMES, printed, strict=True)})


def check_devices(devices: Mapping[str, str]) -> None:
    """Raise UserError where one framework found an accelerator and the other did not; their names may differ."""
    if len({device == "cpu" for device in devices.values()}) > 1:
        found = ", ".join(f"{FRAMEWORK_NAMES[framework]} {device}" for framework, device in devices.items())
        raise UserError(
            f"the frameworks found unequal devices ({found}): install the other's build for this accelerator "
            "(pip install 'jax[cuda12]', say), or pass --device cpu"
        )


def check_writable(folder: Path) -> None:
    """Raise UserError unless `folder`, which is made if need be, takes a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output") from None


def last_words(process: subprocess.Popen[str], errors: str) -> str:
    """The last line a failed child wrote, without the name of its program."""
    line = (errors.strip().splitlines() or [f"it ended with code {process.returncode}"])[-1]
    return re.sub(r"^python (-m \S+|\S+\.py)( \w+)?: ", "", line)


def _post_mortem(framework: str, code: int, folder: Path) -> str:
    name = FRAMEWORK_NAMES[framework]
    run = folder / framework
    if code > 0:
        return f"{name} failed and said why above; what it did is in {run}"
    reason = f"{name}'s process was ended by {signal.Signals(-code).name}"
    hint = " (out of memory? try a smaller --batch-size)" if -code == signal.SIGKILL else ""
    if not run.is_dir():
        return f"{reason}{hint} before it had written anything"
    status = read_status(run)
    RunFolder(run).write_status("failed", message=reason, step=status["step"], epoch=status["epoch"])
    return f"{reason}{hint}; what it did is in {run}"
