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

from common.config import TrainConfig
from common.errors import UserError
from common.networks.presets import PRESETS
from common.records.environment import default_num_threads
from common.records.origin import find_config

MAX_THREADS_PER_CORE = 4
MAX_DRAWS = 100
BOX = re.compile(r"^(?:[╭│╰─╮╯\s]|-{10,})+|(?:[╭│╰─╮╯\s]|-{10,})+$")  # or its rule in plain ASCII


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
    draws: int = 5
    """How many times 10,000 samples are drawn and scored: the spread of every metric is over them."""
    quick_scoring: bool = False
    """Score 2,000 samples by the Fréchet distance, KID and MNIST score alone: not comparable with a full score."""
    dry_run: bool = False
    """Check the flags, the framework and the device, and stop before any data is read or written."""
    output: Path | None = None
    """Folder of the comparison, new or empty; runs/PRESET-seedN-TIME if not given."""
    resume: Path | None = None
    """Go on with a run folder or a checkpoint, of either framework; of all other fields only --epochs may differ."""

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
    check_threads(options.threads)
    if not 1 <= options.draws <= MAX_DRAWS:
        raise UserError(f"--draws is {options.draws}: pass 1 to {MAX_DRAWS}")
    return options


def check_threads(threads: int) -> None:
    """Raise UserError for a number of threads no machine has."""
    cores = default_num_threads()
    if not 0 <= threads <= MAX_THREADS_PER_CORE * cores:
        raise UserError(f"--threads is {threads}: pass 1 to {cores} on this machine, or 0 for every core")


def check_result_file(path: Path | None) -> None:
    """Raise UserError for a --json that could not be written once there is a result."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise UserError(f"--json: {path} cannot be written: name a file in a folder that exists")


def parse(kind: type[Options], arguments: Sequence[str], *, program: str, description: str) -> Options:
    """The flags of any command whose options hold a config, with the preset's values as defaults."""
    resumed = _value_of(arguments, "--resume") if "resume" in kind.__dataclass_fields__ else None
    if resumed == "":  # as a path it would be the current folder
        raise UserError("--resume is empty: name a run folder or a checkpoint")
    config = PRESETS[_preset_of(arguments)].recipe if resumed is None else find_config(Path(resumed))
    default = kind(config=config)
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
    preset = _value_of(arguments, "--preset") or next(iter(PRESETS))
    if preset not in PRESETS:
        raise UserError(f"--preset {preset} is unknown: choose one of {', '.join(PRESETS)}")
    return preset


def _value_of(arguments: Sequence[str], flag: str) -> str | None:
    """The value of a flag that decides the others' defaults; the last one wins, as for every other flag."""
    value = None
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif argument.startswith(f"{flag}="):
            value = argument.removeprefix(f"{flag}=")
    return value


def _one_line(box: str) -> str:
    """Tyro draws a box with a title, a message, and hints below rules; the message and the first hint remain."""
    lines = [BOX.sub("", line) for line in box.splitlines()]
    sections = " ".join(lines[1:] if len(lines) > 1 else lines).split("  ")
    text = re.split(r"Argument helptext:|For full helptext", " ".join(part for part in sections if part))[0]
    text = text.replace("Error parsing config: ", "").replace(" Perhaps you meant:", "; perhaps you meant")
    return text.strip().rstrip(".")
