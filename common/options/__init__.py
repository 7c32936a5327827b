"""Flags that commands share: the fields of a preset's config one by one, the device, and what a run is told."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from common.config import TrainConfig
from common.data.names import canonical_name
from common.errors import UserError
from common.networks.presets import PRESETS
from common.options.help import HELP_ALL, asks_for_help, help_of
from common.options.mistakes import in_plain_words
from common.records.environment import default_num_threads
from common.records.origin import find_config, recorded_data_dir, recorded_features

MAX_THREADS_PER_CORE = 4
MAX_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """The config of a command that has one, a flag for each field."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig]


Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(ConfigOptions):
    """Where a command computes with a config, and on whose data."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes an accelerator if there is one. gpu refuses to start without one. Of several, the first that
    CUDA_VISIBLE_DEVICES leaves is taken."""
    execution: Literal["auto", "step", "chunk"] = "auto"
    """Call each step, or run many as one program. step: a call of the host for each step. chunk: one program of the
    device for many (a CUDA graph replayed in PyTorch, a scan in JAX, which on a CPU is many times slower). auto is
    chunk on GPUs, for the tuned variant."""
    deterministic: bool = False
    """On a GPU, have every run leave the same bits. That costs time. On a CPU runs do so anyway."""
    threads: int = 0
    """CPU threads of each framework (0: every core). Only cores that this process may use count."""
    data_dir: Path | None = None
    """Where your images are: a folder or an .npz file. Of IDX files, their folder; of a TFDS dataset, the folder
    that holds NAME/VERSION/. A run that is resumed knows its own."""

    def __post_init__(self) -> None:
        if self.execution == "chunk" and self.config.variant == "idiomatic":
            raise UserError("--execution chunk is of the tuned variant: leave it out, or pass --variant tuned")
        cores = default_num_threads()
        if not 0 <= self.threads <= MAX_THREADS_PER_CORE * cores:
            raise UserError(f"--threads is {self.threads}: pass 1 to {cores} on this machine, or 0 for every core")

    @property
    def num_threads(self) -> int:
        """The number of CPU threads, resolved."""
        return self.threads or default_num_threads()

    @property
    def wanted_execution(self) -> str:
        """What is asked of the framework to choose: the idiomatic variant is a call a step."""
        return "step" if self.config.variant == "idiomatic" else self.execution

    @property
    def device_flags(self) -> list[str]:
        """Device, form of execution, threads and data folder, as flags of another command."""
        execution = [] if self.execution == "auto" else [f"--execution={self.execution}"]
        execution += ["--deterministic"] * self.deterministic
        data = [] if self.data_dir is None else [f"--data-dir={self.data_dir}"]
        return [f"--device={self.device}", *execution, f"--threads={self.num_threads}", *data]


@dataclass(frozen=True, kw_only=True)
class RunOptions(DeviceOptions):
    """Train the DCGAN in one framework alone, with the same flags as compare.py."""

    draws: int = 5
    """How often 10,000 samples are drawn and scored. Every metric's spread is over these draws."""
    quick_scoring: bool = False
    """Score 2,000 samples by three metrics only. These do not compare with a full score of 10,000 samples."""
    skip_epoch_quality: bool = False
    """Do not score 2,000 samples after each epoch. That takes a second or two, outside every clock."""
    features: Annotated[Path | None, tyro.conf.arg(metavar="FILE.onnx")] = None
    """Score your images by this network's features. Without it, their pixels are compared; MNIST has its own network.
    Its input is images, float32 from 0 to 1 or uint8 (docs/decisions/0024). Peak memory includes it."""
    dry_run: bool = False
    """Check flags, data and device; train nothing. Nothing is written. The folder is checked too, and that the
    framework starts."""
    log_to: Literal["tensorboard", "trackio", "wandb", "mlflow"] | None = None
    """Log to tensorboard, trackio, wandb or mlflow. What it recorded is logged when it has ended, offline,
    into a folder of that name beside it. Each needs its extra: pip install 'dcgan-twins[tensorboard]'."""
    output: Path | None = None
    """New folder for the results. If not given, runs/PRESET-seedN-TIME."""
    resume: Path | None = None
    """Go on with a run folder or a checkpoint. Either framework's will do. Of what decides numbers, only --epochs may
    differ."""
    go_on: bool = False
    """Start a run in --output, or go on with it. Once it is finished, nothing is done: for whatever starts a command
    again when it was killed. A folder with another configuration is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.go_on and (self.output is None or self.resume is not None):
            raise UserError("--go-on needs --output, the folder to start or to go on in, and no --resume")
        if not 1 <= self.draws <= MAX_DRAWS:
            raise UserError(f"--draws is {self.draws}: pass 1 to {MAX_DRAWS}")

    @property
    def folder(self) -> Path:
        """The comparison's folder, resolved; a standalone run fills its own framework's half."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        return self.output or Path("runs") / f"{self.config.preset}-seed{self.config.seed}-{stamp}"


def check_result_file(path: Path | None) -> None:
    """Raise UserError for a --json that could not be written once there is a result."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise UserError(f"--json: {path} cannot be written: name a file in a folder that exists")


def parse(
    kind: type[Options], arguments: Sequence[str], *, program: str, examples: Mapping[str, str] | None = None
) -> Options:
    """The flags of a command, whose class docstring says what it does; what is wrong with them is one line.

    A config's defaults are those of its preset, or of the run that is resumed. Exits after `--help`.
    """
    _refuse_empty(arguments)
    if asks_for_help(arguments):
        print(help_for(kind, arguments, program=program, examples=examples or {}))
        raise SystemExit(0)
    default = _default_of(kind, arguments) if issubclass(kind, ConfigOptions) else tyro.MISSING_NONPROP
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            options = tyro.cli(
                kind,
                args=list(arguments),
                default=default,
                prog=program,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit:
        raise UserError(f"{in_plain_words(messages.getvalue(), arguments)} (see {program} --help)") from None
    if isinstance(options, ConfigOptions):
        name = canonical_name(options.config.dataset)
        return replace(options, config=replace(options.config, dataset=name))
    return options


def help_for(
    kind: type, arguments: Sequence[str], *, program: str, examples: Mapping[str, str], commands: Sequence[str] = ()
) -> str:
    """The text for `--help`. Its defaults are those of the preset among the arguments."""
    default = _default_of(kind, arguments) if issubclass(kind, ConfigOptions) else None
    everything = HELP_ALL in arguments
    return help_of(kind, default, program=program, examples=examples, everything=everything, commands=commands)


def _default_of(kind: type[ConfigOptions], arguments: Sequence[str]) -> ConfigOptions:
    config, resumed = _config_of(kind, arguments), _value_of(arguments, "--resume")
    if resumed is None or not issubclass(kind, RunOptions):
        return kind(config=config)
    place = Path(resumed)
    return kind(config=config, data_dir=recorded_data_dir(place), features=recorded_features(place))


def _refuse_empty(arguments: Sequence[str]) -> None:
    """As a path, an empty text would be the current folder: `--output "$UNSET"` means no such thing."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        flag, _, value = argument.partition("=")
        if argument == "" or (argument.startswith("--") and "=" in argument and value == ""):
            named = flag or (before if before.startswith("--") and "=" not in before else "an argument")
            raise UserError(f"{named} is empty: give it a value, or leave it out")


def _config_of(kind: type[ConfigOptions], arguments: Sequence[str]) -> TrainConfig:
    resumed = _value_of(arguments, "--resume") if "resume" in kind.__dataclass_fields__ else None
    return PRESETS[_preset_of(arguments)].recipe if resumed is None else find_config(Path(resumed))


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
