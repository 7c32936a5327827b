"""A checkpoint to a PyTorch state dict, an Orbax checkpoint or ONNX, with a model card; and the first two back.

Long, since what leaves and what comes back is checked by the same functions.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from common.commands.trained_model import FOLDER, PRETRAINED, WEIGHTS_FILE, find_packed
from common.config import TrainConfig
from common.contract import NETWORKS, Weights, WeightsError
from common.errors import UserError
from common.networks.layers import Architecture
from common.records.checkpoint import (
    AVERAGE_PREFIX,
    SUFFIX,
    Checkpoint,
    is_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from common.records.checkpoint_check import check_tensors
from common.records.folder import write_atomically
from common.safe_read import one_line
from common.stages import stage
from common.training.prepare import PACKAGES
from comparison.checkpoints.diff import architecture_of, load_side, runnable_config
from comparison.checkpoints.foreign import AVERAGE, GENERATOR, find_networks
from comparison.checkpoints.linen import WHAT_TO_DO, is_msgpack
from comparison.checkpoints.model_card import CARD_FILE, how_to_make, metrics_beside, model_card, training_command
from comparison.checkpoints.onnx_generator import check_onnx, write_onnx

REQUIRED = {"pytorch-state-dict": PACKAGES["torch"], "orbax": f"{PACKAGES['jax']} orbax-checkpoint"}


@dataclass(frozen=True)
class Model:
    """A checkpoint whose networks are known."""

    path: Path
    checkpoint: Checkpoint
    config: TrainConfig
    architecture: Architecture


def load_model(path: Path) -> Model:
    """A checkpoint, or the newest of a run folder, whose tensors are those of the networks its config describes."""
    side = load_side(path)
    config = runnable_config(side)
    model = Model(
        side.path, find_packed(side.path) or load_checkpoint(side.path), config, architecture_of(side, config)
    )
    _check(side.path, model.checkpoint.weights, model.checkpoint.average, model)
    return model


def export_model(model: Model, target: str, output: Path) -> list[str]:
    """Write a model for plain PyTorch or plain Flax NNX; returns sentences on what it did not have."""
    weights, average, _ = model.checkpoint
    with stage("converting", 3) as parts:
        parts.begin("loading the framework")
        export = load_export(target)
        content = export.to_native(weights, average, model.architecture, model.config)
        parts.advance()

        def write(folder: Path) -> Path:
            path = folder / "model"  # a library may not like the name that the result gets
            parts.begin("writing")
            export.write_native(path, content)
            parts.advance()
            parts.begin("reading back")
            found = export.to_canonical(export.read_native(path), model.architecture, model.config)
            _compare((weights, average), found)
            parts.advance()
            return path

        _deliver(write, output)
    packed = find_packed(model.path) is not None
    return (
        ["The model's generator is the average, and it had none of Adam's state, which is at rest."] if packed else []
    )


def export_onnx(model: Model, output: Path) -> None:
    """Write the generator's average as an ONNX file that onnxruntime has run."""

    def write(folder: Path) -> Path:
        path = folder / "model.onnx"
        write_onnx(path, model.checkpoint.average, model.architecture)
        check_onnx(path, model.architecture)
        return path

    with stage("converting", 1) as parts:
        _deliver(write, output)
        parts.advance()


def write_card(model: Model, target: str, output: Path) -> Path:
    """The model card beside an export: README.md, or NAME.md in a folder that has one already."""
    card = output.with_name(CARD_FILE)
    if card.exists():
        card = output.with_name(f"{output.name}.md")
    header = model.checkpoint.header
    framework = str(header.get("framework", "torch"))
    content = model_card(
        output.name,
        model.config,
        model.architecture,
        header,
        metrics_beside(model.path),
        source=training_command(model.config, framework if framework in PACKAGES else "torch"),
        formats=how_to_make("CHECKPOINT", made={target: output.name}),
    )
    write_atomically(card, content.encode())
    return card


def import_model(path: Path, like: Model, output: Path) -> list[str]:
    """Write a checkpoint of the tensors in a file or Orbax's folder; returns sentences on what came from where.

    What is lacking there is that of `like`.
    """
    if path == Path(PRETRAINED) and not path.exists():
        path = FOLDER / WEIGHTS_FILE
    if not (path.is_dir() or path.is_file()):  # nor a pipe, which would block
        raise UserError(
            f"{one_line(path)} does not exist: name a PyTorch state dict file or an Orbax checkpoint's folder"
        )
    if path.suffix == SUFFIX and is_checkpoint(path):
        raise UserError(f"{one_line(path)} is a checkpoint of this project already: use it as it is")
    if path.is_file() and is_msgpack(path):
        raise UserError(f"{one_line(path)} is a msgpack file of Flax Linen, which is not taken: {WHAT_TO_DO}")
    export = load_export("orbax" if path.is_dir() else "pytorch-state-dict")
    content = export.read_native(path)
    example = export.to_native(*like.checkpoint[:2], like.architecture, like.config)
    try:
        content, notes = _completed(content, example)
        _check_step_counts(content)
        weights, average = export.to_canonical(content, like.architecture, like.config)
    except WeightsError as error:
        raise UserError(f"{one_line(path)}: {one_line(error)}") from None
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor of a kind that cannot be copied
        raise UserError(f"{one_line(path)} is not laid out as `convert` writes it ({one_line(error)})") from None
    _check(path, weights, average, like)
    header = dict(like.checkpoint.header)
    step = header.pop("step", None)
    if not isinstance(step, int):
        raise UserError(f"{like.path} does not say at which step it was made")
    # Whoever trained on elsewhere comes back at a later step; each step updates the discriminator once.
    step += int(weights["discriminator.adam.step"] - like.checkpoint.weights["discriminator.adam.step"])

    def write(folder: Path) -> Path:
        parts.begin("writing")
        written = save_checkpoint(folder, weights, average, step=step, header=header)
        parts.advance()
        parts.begin("reading back")
        _compare((weights, average), load_checkpoint(written)[:2])
        parts.advance()
        return written

    with stage("converting", 2) as parts:
        _deliver(write, output)
    return notes


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


def _completed(content: Any, example: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The content as `convert` lays it out, and sentences on what was found elsewhere or taken from the example."""
    optimizers: dict[str, Any] = {}
    if isinstance(content, Mapping):
        optimizers = {
            name: content[name] for name in (f"{network}_optimizer" for network in NETWORKS) if name in content
        }
        content = {name: value for name, value in content.items() if name not in optimizers}
    parts, notes = find_networks(content, example)
    generators = (GENERATOR, AVERAGE)
    for lacking, there in (generators, generators[::-1]):
        if lacking not in parts and there in parts:
            parts[lacking] = parts[there]
            notes.append(f"{lacking}: the file has none, so the {there} was taken for it.")
    for name, part in optimizers.items():
        try:
            parts[name] = _laid_out(part, example[name], f"the model/{name}")
        except WeightsError as error:
            raise WeightsError(f"{error}: leave {name} out of the file, and that of --like is taken") from None
    if taken := [name for name in example if name not in parts]:
        notes.append(f"From --like: {', '.join(taken)}.")
    return {name: parts.get(name, value) for name, value in example.items()}, notes


def _laid_out(content: Any, example: Any, place: str = "the model") -> Any:
    """The content, if its tensors have the names, shapes and types of the example's; else WeightsError.

    What is no tensor, like an optimizer's learning rate, is taken from the example.
    """
    if isinstance(example, Mapping):
        if not isinstance(content, Mapping):
            raise WeightsError(f"{place} is no dictionary")
        found = {str(name): value for name, value in content.items()}  # Orbax makes strings of numbers
        names = {str(name): name for name in example}
        for name in (*names, *found):
            if name not in found or name not in names:
                raise WeightsError(f"{name} of {place} is {'missing' if name in names else 'unknown'}")
        return {name: _laid_out(found[key], example[name], f"{place}/{key}") for key, name in names.items()}
    if not hasattr(example, "shape"):
        return example
    if not isinstance(content, type(example)):
        raise WeightsError(f"{place} is no tensor")
    theirs, ours = ((tuple(tensor.shape), str(tensor.dtype)) for tensor in (content, example))
    if theirs != ours:
        raise WeightsError(f"{place} is {theirs[1]} {theirs[0]}, but the networks of --like need {ours[1]} {ours[0]}")
    return content


def _check_step_counts(content: dict[str, Any]) -> None:
    """Each optimizer counts its updates in several places."""

    def leaves(tree: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in tree.items():
            yield from leaves(value) if isinstance(value, Mapping) else [(name, value)]

    for network in NETWORKS:
        name = f"{network}_optimizer"
        counts = sorted({float(value) for key, value in leaves(content[name]) if key in ("step", "count")})
        if len(counts) > 1 or not counts[0].is_integer():
            raise WeightsError(f"{name} counts its updates as {counts}, not as one whole number")


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
