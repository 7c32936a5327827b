"""`python compare.py convert`: a checkpoint to a PyTorch state dict or an Orbax checkpoint, and either back."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text

from common.checkpoint import load_checkpoint, save_checkpoint
from common.checkpoint_check import check_tensors
from common.checkpoint_format import AVERAGE_PREFIX, Checkpoint
from common.config import TrainConfig
from common.contract import Weights, WeightsError
from common.errors import UserError
from common.layers import Architecture
from common.options import parse_flags
from common.run import PACKAGES
from common.untrusted import one_line
from comparison.diff import architecture_of, runnable_config
from comparison.diff_command import load_side

PROGRAM = "python compare.py convert"
DESCRIPTION = (
    "Take a checkpoint, of either framework, elsewhere: as a PyTorch state dict file, or as an Orbax checkpoint for "
    "Flax NNX, with both networks, the generator's average and Adam's state; or bring such a file or folder back."
)
SUFFIXES = {"pytorch-state-dict": ".pt", "orbax": ".orbax", "safetensors": ".safetensors"}
REQUIRED = {"pytorch-state-dict": PACKAGES["torch"], "orbax": f"{PACKAGES['jax']} orbax-checkpoint"}


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """What to convert, to what, and where the result goes."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A checkpoint, or a run folder like runs/NAME/torch, of which the newest checkpoint is taken; with --to
    safetensors, a PyTorch state dict file or an Orbax checkpoint's folder."""
    to: Literal["pytorch-state-dict", "orbax", "safetensors"]
    """A file for torch.load, a folder for Orbax, or back to a checkpoint of this project."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """A path that does not exist yet; if not given, beside what is converted, ending in .pt, .orbax or .safetensors."""
    like: Annotated[Path | None, tyro.conf.arg(metavar="CHECKPOINT_OR_RUN")] = None
    """With --to safetensors: whose networks these are; the result takes its config and framework from there."""


@dataclass(frozen=True)
class Model:
    """A checkpoint whose networks are known."""

    path: Path
    checkpoint: Checkpoint
    config: TrainConfig
    architecture: Architecture


def convert(arguments: Sequence[str]) -> int:
    """0 once the result was read back and found equal, bit for bit, to what was converted."""
    options = parse_flags(ConvertOptions, arguments, program=PROGRAM, description=DESCRIPTION)
    try:
        output = _convert(options)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read or written ({error.strerror})") from None
    message = f"{output}: both networks, the generator's average and Adam's state, read back bit for bit"
    Console().print(Text(message), soft_wrap=True)
    return 0


def load_model(path: Path) -> Model:
    """A checkpoint, or the newest of a run folder, whose tensors are those of the networks its config describes."""
    side = load_side(path)
    config = runnable_config(side)
    model = Model(side.path, load_checkpoint(side.path), config, architecture_of(side, config))
    _check(side.path, model.checkpoint.weights, model.checkpoint.average, model)
    return model


def export_model(model: Model, target: str, output: Path) -> None:
    """Write a model for plain PyTorch or plain Flax NNX."""
    export = load_export(target)
    weights, average, _ = model.checkpoint

    def write(folder: Path) -> Path:
        path = folder / output.name
        export.write_export(path, weights, average, model.architecture, model.config)
        _compare((weights, average), export.read_export(path, model.architecture))
        return path

    _deliver(write, output)


def import_model(path: Path, like: Model, output: Path) -> None:
    """Write a checkpoint of the tensors at `path`; a folder is taken for Orbax's, a file for PyTorch's."""
    if not (path.is_dir() or path.is_file()):  # nor a pipe, which would block
        raise UserError(f"{path} does not exist: name a PyTorch state dict file or an Orbax checkpoint's folder")
    export = load_export("orbax" if path.is_dir() else "pytorch-state-dict")
    try:
        weights, average = export.read_export(path, like.architecture)
    except UserError:
        raise
    except WeightsError as error:
        raise UserError(f"{path}: {one_line(error)}") from None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not laid out as `convert` writes it ({one_line(error)})") from None
    _check(path, weights, average, like)
    header = dict(like.checkpoint.header)
    step = header.pop("step", None)
    if not isinstance(step, int):
        raise UserError(f"{like.path} does not say at which step it was made")
    # Whoever trained on elsewhere comes back at a later step; each step updates the discriminator once.
    step += int(weights["discriminator.adam.step"] - like.checkpoint.weights["discriminator.adam.step"])

    def write(folder: Path) -> Path:
        written = save_checkpoint(folder, weights, average, step=step, header=header)
        _compare((weights, average), load_checkpoint(written)[:2])
        return written

    _deliver(write, output)


def load_export(target: str) -> ModuleType:
    """`torch_impl.export` or `jax_impl.export`; a framework that is not installed raises UserError."""
    try:
        if target == "pytorch-state-dict":
            from torch_impl import device, export
        else:
            from jax_impl import device, export
    except ImportError as error:
        raise UserError(f"{target} needs what is not installed ({error}): pip install {REQUIRED[target]}") from None
    device.select_device("cpu")  # nothing is computed: an accelerator need not even start
    return export


def _convert(options: ConvertOptions) -> Path:
    if (options.to == "safetensors") != (options.like is not None):
        raise UserError(
            "--to safetensors and --like CHECKPOINT_OR_RUN go together: a state dict does not say whose networks it is "
            "of, and a checkpoint does"
        )
    if options.like is None:
        model = load_model(options.path)
        output = _output(options, beside=model.path)
        export_model(model, options.to, output)
    else:
        output = _output(options, beside=options.path)
        model = load_model(options.like)
        import_model(options.path, model, output)
    return output


def _output(options: ConvertOptions, *, beside: Path) -> Path:
    output = options.output or beside.parent / f"{beside.name.removesuffix(beside.suffix)}{SUFFIXES[options.to]}"
    if output.exists() or output.is_symlink():
        raise UserError(f"{output} exists already: name another with --output, or remove it first")
    if not output.name or not output.parent.is_dir():
        raise UserError(f"--output: {output} cannot be written: name a new path in a folder that exists")
    return output


def _check(path: Path, weights: Weights, average: Weights, model: Model) -> None:
    try:
        check_tensors(weights, average, model.architecture, model.config)
    except WeightsError as error:
        raise UserError(f"{path}: {one_line(error)}") from None


def _compare(expected: tuple[Weights, Weights], found: tuple[Weights, Weights]) -> None:
    """Bytes, not values: -0 is not 0. PyTorch counts steps in float32, which ends at 2**24."""
    for prefix, first, second in zip(("", AVERAGE_PREFIX), expected, found, strict=True):
        for name in sorted(first.keys() | second.keys()):
            if name not in first or name not in second or _bits(first[name]) != _bits(second[name]):
                raise UserError(f"{prefix}{name} would not come back as it is: nothing was written")


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


def _deliver(write: Callable[[Path], Path], output: Path) -> None:
    """The result gets its name when it is whole: a folder is not written at once."""
    try:
        with tempfile.TemporaryDirectory(prefix=".convert-", dir=output.parent) as folder:
            write(Path(folder)).rename(output)
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror}): choose another --output") from None
