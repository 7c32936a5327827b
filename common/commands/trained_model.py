"""A trained model that makes pictures: from a checkpoint of either framework, in either framework, the same ones.

It computes in float64 on the CPU, whatever it was trained in: two frameworks then differ by 1e-15, and rounded to
grey levels not at all.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.config import TrainConfig
from common.contract import STORAGE_DTYPES, InspectableTrainer, Weights, expected_shapes, is_averaged
from common.errors import UserError
from common.evaluation.plausibility import too_few_steps
from common.networks.build import architecture_of
from common.networks.layers import Architecture
from common.pictures.captions import shortened
from common.records.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from common.records.checkpoint_check import check_tensors
from common.records.environment import default_num_threads
from common.records.folder import FRAMEWORK_NAMES
from common.records.origin import config_of
from common.safe_read import MAX_JSON_BYTES, one_line, parse_json, read_bounded, unreadable_is_named

if TYPE_CHECKING:
    from common.contract import Framework

FOLDER = Path(__file__).parents[1] / "pretrained"
WEIGHTS_FILE, DESCRIPTION_FILE = "dcgan.safetensors", "dcgan.json"
METADATA_KEY = "model"
MAX_BYTES = 2**28
PRETRAINED = "pretrained"  # what takes the place of a path where there is no flag for it
MEND = "reinstall the package, restore the file from git, or name a checkpoint"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model a command shows."""

    checkpoint: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")] = None
    """A checkpoint, or a run folder like runs/NAME/torch. Of a run, the newest checkpoint is taken; either framework's
    will do."""
    pretrained: bool = False
    """Take the model that comes with the project."""


@dataclass(frozen=True)
class StoredModel:
    """What was read and checked before a framework is loaded, which takes seconds."""

    checkpoint: Checkpoint
    config: TrainConfig
    architecture: Architecture

    def open(self, load_framework: "Callable[[], Framework]") -> "Model":
        """A trainer that holds these tensors."""
        # Loading may take half a minute; flushed, for a pipe holds a line back until the end.
        print(f"loading {self.name}", flush=True)
        try:
            framework = load_framework()
        except ImportError as error:
            raise UserError(f"the framework is not installed ({error}): install it, or use the other twin") from None
        framework.configure(num_threads=default_num_threads())
        exact = replace(self.config, precision="float64", variant="tuned")
        trainer = framework.create_trainer(exact, self.architecture, framework.select_device("cpu"))
        trainer.load_weights(_in_float64(self.checkpoint.weights), _in_float64(self.checkpoint.average))
        return Model(self.name, exact, self.architecture, trainer)

    @property
    def name(self) -> str:
        """As a picture's caption has it."""
        header = self.checkpoint.header
        # Anyone may have written the header, and what a picture says must stay one line.
        step = f"step {self.step:,}" if self.step is not None else "unknown step"
        trained_in = FRAMEWORK_NAMES.get(str(header.get("framework")), "an unknown framework")
        return f"{self.config.preset} on {shortened(self.config.dataset)}, {step}, trained in {trained_in}"

    @property
    def step(self) -> int | None:
        """The step after which it was stored, if that is known."""
        step = self.checkpoint.header.get("step")
        return step if isinstance(step, int) else None

    def note_on(self, images: np.ndarray) -> str:
        """What must be said of its samples if they are grey because it was trained for too short."""
        epoch = self.checkpoint.header.get("epoch")
        if self.step is None or self.config.dataset != "mnist":  # of other data there is nothing to hold them against
            return ""
        per_epoch = self.step // epoch if isinstance(epoch, int) and 1 <= epoch <= self.step else None
        return too_few_steps(images, None, step=self.step, steps_per_epoch=per_epoch)


@dataclass(frozen=True)
class Model:
    """A trainer in float64 whose generator is the average that samples are drawn from."""

    name: str  # as a picture's caption has it
    config: TrainConfig
    architecture: Architecture
    trainer: InspectableTrainer


def _in_float64(weights: Weights) -> Weights:
    return {name: array if array.dtype == np.int64 else array.astype(np.float64) for name, array in weights.items()}


def open_model(options: ModelOptions, load_framework: "Callable[[], Framework]") -> Model:
    """The model that the options name; whatever is wrong with it raises UserError."""
    return read_model(options).open(load_framework)


def read_model(options: ModelOptions) -> StoredModel:
    """The tensors of the model that the options name; whatever is wrong with them raises UserError."""
    path = _path_of(options)
    checkpoint = find_packed(path) or load_checkpoint(path)
    config = config_of(checkpoint.header, path)
    try:
        architecture = architecture_of(config, checkpoint.weights)
        check_tensors(checkpoint.weights, checkpoint.average, architecture, config)
    except ValueError as error:
        raise UserError(f"{one_line(path)} is no model of preset {config.preset} ({one_line(error)})") from None
    return StoredModel(checkpoint, config, architecture)


def _path_of(options: ModelOptions) -> Path:
    if options.pretrained and options.checkpoint is not None:
        raise UserError(f"{one_line(options.checkpoint)} and --pretrained are two models: name one of them")
    if options.pretrained:
        return FOLDER / WEIGHTS_FILE
    if options.checkpoint is None:
        raise UserError("name a checkpoint or a run folder like runs/NAME/torch, or pass --pretrained")
    return find_checkpoint(options.checkpoint)


def pack(checkpoint: Checkpoint, description: Mapping[str, Any]) -> bytes:
    """The file of a checkpoint: the generator's average and the discriminator in float16, and nothing of Adam."""
    tensors = {name: array for name, array in (checkpoint.weights | checkpoint.average).items() if ".adam." not in name}
    for name, array in tensors.items():
        if not (np.abs(array) <= np.finfo(np.float16).max).all():
            raise UserError(f"{name} does not fit into float16, whose largest number is 65504: take another run")
    halves = {name: array.astype(np.float16) for name, array in sorted(tensors.items())}
    return save(halves, metadata={METADATA_KEY: json.dumps(description)})


def unpack(content: bytes) -> tuple[Weights, dict[str, Any]]:
    """The tensors of a packed file, still in float16, and its description; ValueError for any other file."""
    length = int.from_bytes(content[:8], "little")
    header = parse_json(content[8 : 8 + length])
    try:
        return load(content), parse_json(header["__metadata__"][METADATA_KEY].encode())
    except (SafetensorError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(one_line(error)) from None


def to_checkpoint(halves: Weights, header: dict[str, Any]) -> Checkpoint:
    """The tensors as a checkpoint has them, with Adam at rest: moments and step counts are zero."""
    config = config_of(header, FOLDER / WEIGHTS_FILE)
    dtype = STORAGE_DTYPES[config.precision]
    stored = {name: array.astype(dtype) for name, array in halves.items()}
    for name, shape in expected_shapes(architecture_of(config, halves)).items():
        if ".adam." in name:
            stored[name] = np.zeros(shape, np.int64 if name.endswith(".adam.step") else dtype)
    return Checkpoint(stored, {name: array for name, array in stored.items() if is_averaged(name)}, header)


def read_pretrained() -> Checkpoint:
    """The shipped model; UserError unless its file is the one that dcgan.json names by its SHA-256."""
    weights, description = FOLDER / WEIGHTS_FILE, FOLDER / DESCRIPTION_FILE
    if not weights.is_file() or not description.is_file():
        raise UserError("--pretrained: this copy of the project comes without its weights: name a checkpoint instead")
    content = read_bounded(weights, limit=MAX_BYTES)
    try:
        expected = parse_json(read_bounded(description, limit=MAX_JSON_BYTES))["sha256"]
        if hashlib.sha256(content).hexdigest() != expected:
            raise ValueError(f"its SHA-256 is not the one in {DESCRIPTION_FILE}")
        return to_checkpoint(*unpack(content))
    except (ValueError, LookupError) as error:
        raise UserError(f"--pretrained: {weights.name} is damaged ({one_line(error)}): {MEND}") from None


def find_packed(path: Path) -> Checkpoint | None:
    """The shipped model, by its file or the word `pretrained`, or another file that `pack` made; None for any other."""
    shipped = FOLDER / WEIGHTS_FILE
    with unreadable_is_named(path):
        exists = path.exists()
        if path == shipped or (path == Path(PRETRAINED) and not exists):
            return read_pretrained()
        if exists and shipped.exists() and path.samefile(shipped):
            return read_pretrained()
        if not path.is_file():
            return None
    try:
        return to_checkpoint(*unpack(read_bounded(path, limit=MAX_BYTES)))
    except ValueError:
        return None
