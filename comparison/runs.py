"""Runs both implementations, each in its own process, one after the other, with the same threads and environment."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from common.architectures import build_architecture
from common.errors import RunFailedError, UserError
from common.options import RunOptions
from common.records import RunFolder, read_status
from common.run import FRAMEWORK_NAMES

FRAMEWORKS = tuple(FRAMEWORK_NAMES)

# glibc returns large buffers to the kernel after every step and faults them in again at the next; huge pages make
# that cheap for both frameworks alike. It must be in the environment before the process starts.
ALLOCATOR_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def run_both(options: RunOptions, folder: Path, console: Console) -> int:
    """Train PyTorch, then JAX, into `folder`; returns the first exit code that is not 0.

    Both are checked before either trains, so that a missing framework or device is known at once.
    """
    build_architecture(options.config)
    for framework in FRAMEWORKS:
        if (folder / framework).exists():
            raise UserError(f"{folder} already holds a comparison: choose another --output, or remove it first")
    _check_both(options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output") from None
    for framework in FRAMEWORKS:
        command = child_command(framework, options, folder)
        process = subprocess.Popen(command, env=child_environment(options.num_threads))
        code = _wait(process)
        if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return code
        if code != 0:
            raise RunFailedError(_post_mortem(framework, code, folder))
    return 0


def child_command(framework: str, options: RunOptions, folder: Path) -> list[str]:
    """The standalone command that makes one half of the comparison; it can be typed by hand too."""
    fields = dataclasses.asdict(options.config)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in fields.items()]
    flags += [f"--device={options.device}", f"--threads={options.num_threads}", f"--output={folder}"]
    if options.data_dir is not None:
        flags.append(f"--data-dir={options.data_dir}")
    return [sys.executable, "-m", f"{framework}_impl", *flags]


def child_environment(num_threads: int) -> dict[str, str]:
    """The same for both: thread counts each framework obeys, and the allocator's settings."""
    threads = str(num_threads)
    return {
        **ALLOCATOR_ENVIRONMENT,
        **os.environ,  # whoever sets one of these by hand means it
        "OMP_NUM_THREADS": threads,  # torch
        "PJRT_NPROC": threads,  # JAX on a CPU
    }


def _check_both(options: RunOptions) -> None:
    environment = child_environment(options.num_threads)
    checks = [
        subprocess.Popen(
            [*child_command(framework, options, Path("unused")), "--dry-run=True"],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for framework in FRAMEWORKS
    ]
    messages = [check.communicate()[1] for check in checks]
    for framework, check, message in zip(FRAMEWORKS, checks, messages, strict=True):
        if check.returncode != 0:
            lines = message.strip().splitlines() or [f"the check ended with code {check.returncode}"]
            raise UserError(lines[-1].removeprefix(f"python -m {framework}_impl: "))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the child as well, which then ends in its own time; SIGTERM is passed on."""
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
    finally:
        signal.signal(signal.SIGTERM, previous)


def _post_mortem(framework: str, code: int, folder: Path) -> str:
    name = FRAMEWORK_NAMES[framework]
    run = folder / framework
    if code > 0:
        return f"{name} failed and said why above; what it did is in {run}"
    reason = f"{name}'s process was ended by {signal.Signals(-code).name}"
    hint = " (out of memory? try a smaller --batch-size)" if -code == signal.SIGKILL else ""
    status = read_status(run)
    RunFolder(run).write_status("failed", message=reason, step=status["step"], epoch=status["epoch"])
    return f"{reason}{hint}; what it did is in {run}"
