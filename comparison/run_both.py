"""Runs both implementations, each in its own process, with the same threads and environment: in turns, or in order."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from common.errors import RunFailedError, UserError
from common.options import RunOptions
from common.records.folder import (
    CONFIG_FILE,
    FRAMEWORK_NAMES,
    RunFolder,
    check_writable,
    is_blank,
    is_finished,
    read_status,
)
from common.records.origin import check_own_run, check_same_config, find_origin
from common.safe_read import unreadable_is_named
from common.stages import in_stage
from comparison.both_bars import BothBars
from comparison.processes import USER_ERROR, Children, child_flags, last_words
from comparison.take_turns import TurnTaking

FRAMEWORKS = tuple(FRAMEWORK_NAMES)


def run_both(options: RunOptions, folder: Path, *, turns: bool, console: Console) -> int:
    """Train both into `folder`, epoch by epoch in turns or PyTorch before JAX; returns an exit code that is not 0.

    Both are checked before either trains, so that a missing framework or device is known at once.
    """
    unfinished = unfinished_halves(options, folder)
    check_writable(folder)
    with Children() as children:
        check_both(options, children)
        commands = {framework: child_command(framework, options, folder) for framework in unfinished}
        if turns and len(commands) > 1:
            with BothBars(commands, console) as bars:
                codes = TurnTaking(children, options.num_threads, bars).run(commands)
                if not any(codes.values()):
                    bars.say(f"Both were trained and scored in {bars.whole_time}")
        else:
            codes = _run_in_order(commands, children, options.num_threads)
        if children.signal_number:
            return 128 + children.signal_number
        if USER_ERROR in codes.values():  # the child has said what to do
            return USER_ERROR
        if failed := {framework: code for framework, code in codes.items() if code != 0}:
            raise RunFailedError("; ".join(_post_mortem(*half, folder) for half in failed.items()))
    return 0


def _run_in_order(commands: Mapping[str, list[str]], children: Children, num_threads: int) -> dict[str, int]:
    """Exit codes until the first that is not 0, which the next half does not begin after."""
    codes = {}
    for framework, command in commands.items():
        codes[framework] = children.start(command, num_threads).wait()
        if codes[framework] != 0 or children.signal_number:
            break
    return codes


def unfinished_halves(options: RunOptions, folder: Path) -> list[str]:
    """Frameworks that are still to train: both, or what is left to do of the comparison that is resumed."""
    halves = {framework: folder / framework for framework in FRAMEWORKS}
    with unreadable_is_named(folder):
        if options.resume is None and not (options.go_on and begun_halves(options, folder)):
            if any(not is_blank(half) for half in halves.values() if half.exists()):
                raise UserError(
                    f"{folder} already holds a comparison: choose another --output, remove it first, or go on with "
                    "--resume"
                )
            return list(FRAMEWORKS)
        begun = [framework for framework, half in halves.items() if (half / CONFIG_FILE).exists()]
        if not begun:
            raise UserError(
                f"{folder} holds no comparison: name a folder with {' or '.join(FRAMEWORKS)} in it, or resume one half "
                "with python -m torch_impl or python -m jax_impl"
            )
        return [name for name, half in halves.items() if name not in begun or not _is_finished(half, options)]


def begun_halves(options: RunOptions, folder: Path) -> list[str]:
    """Frameworks whose half of `--go-on`'s folder has begun; UserError if it is of another configuration."""
    begun = [framework for framework in FRAMEWORKS if (folder / framework / CONFIG_FILE).exists()]
    for framework in begun:
        check_own_run(options.config, folder / framework, framework)
    return begun


def _is_finished(half: Path, options: RunOptions) -> bool:
    origin = find_origin(half)
    check_same_config(options.config, origin)
    return is_finished(half) and origin.config == options.config


def child_command(framework: str, options: RunOptions, folder: Path) -> list[str]:
    """The standalone command that makes one half of the comparison; it can be typed by hand too."""
    half = folder / framework
    place = f"--resume={half}" if (half / CONFIG_FILE).exists() else f"--output={folder}"
    switches = {"--quick-scoring": options.quick_scoring, "--skip-epoch-quality": options.skip_epoch_quality}
    scoring = [f"--draws={options.draws}", *(flag for flag, is_on in switches.items() if is_on)]
    scoring += [] if options.features is None else [f"--features={options.features}"]
    return [sys.executable, "-m", f"{framework}_impl", *child_flags(options), *scoring, place]


def check_both(options: RunOptions, children: Children) -> dict[str, str]:
    """The device of each framework, or UserError where one is missing; neither reads data nor writes a file."""
    checks = [
        children.start(
            [sys.executable, "-m", f"{framework}_impl", "device", *child_flags(options)],
            options.num_threads,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for framework in FRAMEWORKS
    ]
    printed = [check.communicate() for check in in_stage(checks, "starting both frameworks", len(checks))]
    children.check()
    for check, (_, errors) in zip(checks, printed, strict=True):
        if check.returncode != 0:
            raise UserError(last_words(check.returncode, errors))
    devices = {name: output.splitlines()[-1] for name, (output, _) in zip(FRAMEWORK_NAMES, printed, strict=True)}
    check_devices(devices)
    return devices


def check_devices(devices: Mapping[str, str]) -> None:
    """Raise UserError where one framework found an accelerator and the other did not; their names may differ."""
    if len({device == "cpu" for device in devices.values()}) > 1:
        found = ", ".join(f"{FRAMEWORK_NAMES[framework]} {device}" for framework, device in devices.items())
        raise UserError(
            f"the frameworks found unequal devices ({found}): install the other's build for this accelerator "
            "(pip install 'jax[cuda13]', say), or pass --device cpu"
        )


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
