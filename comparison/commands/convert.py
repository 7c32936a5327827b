"""`python compare.py convert`: a checkpoint to PyTorch, Orbax or ONNX, and back from the first two."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.console import make_console, printable, say
from common.errors import UserError
from comparison.checkpoints.convert import export_model, export_onnx, import_model, load_model, write_card

SUFFIXES = {"pytorch-state-dict": ".pt", "orbax": ".orbax", "onnx": ".onnx", "safetensors": ".safetensors"}

KEPT = {"onnx": "the generator's average in float32, from latents (N, Z) to images in [-1, 1]; onnxruntime runs it"}


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Take a checkpoint of either framework elsewhere, or bring a file or folder back."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A checkpoint, or a run folder like runs/NAME/torch. Of a run, the newest checkpoint is taken. With --to
    safetensors: a file of PyTorch state dicts, also another program's, or an Orbax checkpoint's folder."""
    to: Literal["pytorch-state-dict", "orbax", "onnx", "safetensors"]
    """pytorch-state-dict, orbax, onnx or safetensors. pytorch-state-dict is a file for torch.load, orbax a folder for
    Flax NNX, onnx the generator for onnxruntime. safetensors takes either of the first two back to a checkpoint of this
    project. A model card goes beside what leaves."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """A path that does not exist yet. If not given, it is beside what is converted, with another ending."""
    like: Annotated[Path | None, tyro.conf.arg(metavar="CHECKPOINT_OR_RUN")] = None
    """With --to safetensors: whose networks these are. Config, framework and what is lacking come from there."""


def main(options: ConvertOptions) -> int:
    """0 once the result was read back and found equal, bit for bit, to what was converted."""
    try:
        output, notes = _convert(options)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read or written ({error.strerror})") from None
    console = make_console()
    kept = KEPT.get(options.to, "both networks, the generator's average and Adam's state, read back bit for bit")
    for line in (f"{printable(str(output))}: {kept}", *notes):
        say(console, line)
    return 0


def _convert(options: ConvertOptions) -> tuple[Path, list[str]]:
    if (options.to == "safetensors") != (options.like is not None):
        raise UserError(
            "--to safetensors and --like CHECKPOINT_OR_RUN go together: a state dict does not say whose networks it is "
            "of, and a checkpoint does"
        )
    if options.like is None:
        model = load_model(options.path)
        output = _output(options, beside=model.path)
        notes = []
        if options.to == "onnx":
            export_onnx(model, output)
        else:
            notes = export_model(model, options.to, output)
        notes.append(f"Model card: {printable(str(write_card(model, options.to, output)))}")
    else:
        output = _output(options, beside=options.path)
        model = load_model(options.like)
        notes = import_model(options.path, model, output)
    return output, notes


def _output(options: ConvertOptions, *, beside: Path) -> Path:
    output = options.output or beside.parent / f"{beside.name.removesuffix(beside.suffix)}{SUFFIXES[options.to]}"
    if output.exists() or output.is_symlink():
        raise UserError(f"{output} exists already: name another with --output, or remove it first")
    if not output.name or not output.parent.is_dir():
        raise UserError(f"--output: {output} cannot be written: name a new path in a folder that exists")
    return output
