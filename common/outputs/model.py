"""A trained model that makes pictures: from a checkpoint of either framework, in either framework, the same ones.

It computes in float64 on the CPU, whatever it was trained in: two frameworks then differ by 1e-15, and rounded to
grey levels not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from common.architectures import architecture_of
from common.checkpoint import find_checkpoint, load_checkpoint
from common.checkpoint_check import check_tensors
from common.checkpoint_format import Checkpoint
from common.config import TrainConfig
from common.contract import Trainer, Weights
from common.environment import default_num_threads
from common.errors import UserError
from common.layers import Architecture
from common.outputs.pretrained import FOLDER, WEIGHTS_FILE, read_pretrained
from common.records import FRAMEWORK_NAMES
from common.resume import config_of
from common.untrusted import one_line

if TYPE_CHECKING:
    from common.run import Implementation


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model a command shows."""

    checkpoint: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")] = None
    """A checkpoint of either framework, or a run folder like runs/NAME/torch, of which the newest is taken."""
    pretrained: bool = False
    """Take the model that comes with the project instead of a checkpoint."""


@dataclass(frozen=True)
class StoredModel:
    """What was read and checked before a framework is loaded, which takes seconds."""

    checkpoint: Checkpoint
    config: TrainConfig
    architecture: Architecture

    def open(self, load_implementation: "Callable[[], Implementation]") -> "Model":
        """The same, ready to generate."""
        return build_model(self.checkpoint, self.config, self.architecture, load_implementation)


@dataclass(frozen=True)
class Model:
    """A trainer in float64 whose generator is the average that samples are drawn from."""

    name: str  # as a picture's caption has it
    config: TrainConfig
    architecture: Architecture
    trainer: Trainer


def open_model(options: ModelOptions, load_implementation: "Callable[[], Implementation]") -> Model:
    """The model that the options name; whatever is wrong with it raises UserError."""
    return read_model(options).open(load_implementation)


def read_model(options: ModelOptions) -> StoredModel:
    """The tensors of the model that the options name; whatever is wrong with them raises UserError."""
    path = _path_of(options)
    checkpoint = read_pretrained() if options.pretrained else load_checkpoint(path)
    config = config_of(checkpoint.header, path)
    try:
        architecture = architecture_of(config, checkpoint.weights)
        check_tensors(checkpoint.weights, checkpoint.average, architecture, config)
    except ValueError as error:
        raise UserError(f"{one_line(path)} is no model of preset {config.preset} ({one_line(error)})") from None
    return StoredModel(checkpoint, config, architecture)


def build_model(
    checkpoint: Checkpoint,
    config: TrainConfig,
    architecture: Architecture,
    load_implementation: "Callable[[], Implementation]",
) -> Model:
    """A trainer that holds a checkpoint's tensors, which were checked."""
    try:
        implementation = load_implementation()
    except ImportError as error:
        raise UserError(f"the framework is not installed ({error}): install it, or use the other twin") from None
    implementation.configure(num_threads=default_num_threads())
    exact = replace(config, precision="float64", variant="tuned")
    trainer = implementation.create_trainer(exact, architecture, implementation.select_device("cpu"))
    trainer.load_weights(_in_float64(checkpoint.weights | checkpoint.average))
    step, framework = checkpoint.header.get("step"), str(checkpoint.header.get("framework"))
    # Anyone may have written the header, and what a picture says must stay one line.
    counted = f"step {step:,}" if isinstance(step, int) else "unknown step"
    name = f"{config.preset}, {counted}, trained in {FRAMEWORK_NAMES.get(framework, 'an unknown framework')}"
    return Model(name, exact, architecture, trainer)


def _path_of(options: ModelOptions) -> Path:
    if options.pretrained and options.checkpoint is not None:
        raise UserError(f"{one_line(options.checkpoint)} and --pretrained are two models: name one of them")
    if options.pretrained:
        return FOLDER / WEIGHTS_FILE
    if options.checkpoint is None:
        raise UserError("name a checkpoint or a run folder like runs/NAME/torch, or pass --pretrained")
    return find_checkpoint(options.checkpoint)


def _in_float64(weights: Weights) -> Weights:
    return {name: array if array.dtype == np.int64 else array.astype(np.float64) for name, array in weights.items()}
