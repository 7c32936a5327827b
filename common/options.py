"""The command line: `--preset` picks a config, every other flag overrides one field of it."""

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

import tyro

from common.config import PRESETS, TrainConfig
from common.environment import default_num_threads
from common.errors import UserError

MAX_THREADS_PER_CORE = 4
BOX = re.compile(r"^[╭│╰─╮╯\s]+|[╭│╰─╮╯\s]+$")


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """What every command takes: a config, flag by flag."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig]


Options = TypeVar("Options", bound=ConfigOptions)
Flags = TypeVar("Flags")


@dataclass(frozen=True, kw_only=True)
class RunOptions(ConfigOptions):
    """What a command does with a config: where it runs and where its results go."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes an accelerator if the framework finds one."""
    threads: int = 0
    """CPU threads of each framework; 0 is every core this process may use."""
    data_dir: Path | None = None
    """Folder of prepared TFDS datasets, holding NAME/VERSION/."""
    dry_run: bool = False
    """Check the flags, the framework and the device, and stop before any data is read or written."""
    output: Path | None = None
    """Folder of the comparison, new or empty; runs/PRESET-seedN-TIME if not given."""

    @property
    def num_threads(self) -> int:
        """The number of CPU threads, resolved."""
        return self.threads or default_num_threads()

    @property
    def folder(self) -> Path:
        """The comparison's folder, resolved; a standalone run fills its own framework's half."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        return self.output or Path("runs") / f"{self.config.preset}-seed{self.config.seed}-{stamp}"


Runnable = TypeVar("Runnable", bound=RunOptions)


def parse_options(
    arguments: Sequence[str], *, program: str, description: str, kind: type[Runnable] = RunOptions
) -> Runnable:
    """The flags of a run; whatever is wrong with them raises UserError with one line."""
    options = parse(kind, arguments, program=program, description=description)
    if not 0 <= options.threads <= MAX_THREADS_PER_CORE * default_num_threads():
        cores = default_num_threads()
        raise UserError(f"--threads is {options.threads}: pass 1 to {cores} on this machine, or 0 for every core")
    return options


def parse(kind: type[Options], arguments: Sequence[str], *, program: str, description: str) -> Options:
    """The flags of any command whose options hold a config, with the preset's values as defaults."""
    default = kind(config=PRESETS[_preset_of(arguments)])
    return parse_flags(kind, arguments, program=program, description=description, default=default)


def parse_flags(
    kind: type[Flags],
    arguments: Sequence[str],
    *,
    program: str,
    description: str,
    default: Flags = tyro.MISSING_NONPROP,
) -> Flags:
    """The flags of any command; what is wrong with them is one line, without tyro's box."""
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            return tyro.cli(
                kind,
                args=list(arguments),
                default=tyro.MISSING if default is None else default,
                prog=program,
                description=description,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help was printed
        raise UserError(f"{_one_line(messages.getvalue())} (see {program} --help)") from None


def _preset_of(arguments: Sequence[str]) -> str:
    """The last --preset wins, as for every other flag."""
    preset = next(iter(PRESETS))
    for index, argument in enumerate(arguments):
        if argument == "--preset" and index + 1 < len(arguments):
            preset = arguments[index + 1]
        elif argument.startswith("--preset="):
            preset = argument.removeprefix("--preset=")
    if preset not in PRESETS:
        raise UserError(f"--preset {preset} is unknown: choose one of {', '.join(PRESETS)}")
    return preset


def _one_line(box: str) -> str:
    """Tyro draws a box with a title, a message, and hints below rules; the message and the first hint remain."""
    lines = [BOX.sub("", line) for line in box.splitlines()]
    sections = " ".join(lines[1:] if len(lines) > 1 else lines).split("  ")
    text = re.split(r"Argument helptext:|For full helptext", " ".join(part for part in sections if part))[0]
    text = text.replace("Error parsing config: ", "").replace(" Perhaps you meant:", "; perhaps you meant")
    return text.strip().rstrip(".")
