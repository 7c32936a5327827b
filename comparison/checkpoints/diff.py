"""Where two checkpoints part, tensor by tensor and, run on the same latents, layer by layer.

A checkpoint belongs to no framework, so any two can be held side by side; a framework is imported only to run one.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.commands.trained_model import find_packed
from common.config import TrainConfig, differing_fields
from common.contract import Weights, WeightsError
from common.errors import UserError
from common.networks import build
from common.networks.layers import Architecture
from common.records.checkpoint import AVERAGE_PREFIX, find_checkpoint, load_checkpoint
from common.records.environment import default_num_threads
from common.records.folder import FRAMEWORK_NAMES
from common.training.prepare import PACKAGES
from comparison.parity.divergence import Link, accumulation, errors, first_divergence, relative_l2, sequence
from comparison.parity.probes.probe import Probe

# What rounding alone makes of one layer or one step (relative L2); bfloat16 keeps 8 bits.
ROUNDING = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2}
# The order in which a step settles its tensors (common/contract.py). A discriminator's running statistics move once
# more in the generator's update, through the discriminator that was just updated.
PHASES = (
    "generator statistic",
    "discriminator step",
    "discriminator moment",
    "discriminator parameter",
    "discriminator statistic",
    "generator step",
    "generator moment",
    "generator parameter",
    "average",
)
NAME = re.compile(r"(generator|discriminator)\.(?:layers\.(\d+)\..+|adam\.step)")


class Side(NamedTuple):
    """One of the two checkpoints; `config` is what the file's header says, unchecked."""

    path: Path
    framework: str
    step: int | None
    config: dict[str, Any]
    tensors: Weights  # the generator's average as `average.NAME`
    packed: bool = False  # as the pretrained model is: in half precision, and its Adam is at rest

    @property
    def precision(self) -> str:
        """In which its tensors are stored."""
        return "float16" if self.packed else str(self.config.get("precision"))


class TensorDifference(NamedTuple):
    """How far one tensor of B is from A's, and what else is different about it."""

    name: str
    error: float  # relative L2; infinite for a tensor of one side only, or of another shape
    note: str
    identical: bool


class LayerDifference(NamedTuple):
    """How far one layer's output in B is from A's; `parts` marks the first of its network to stand out."""

    link: Link
    kind: str
    parts: bool


@dataclass(frozen=True)
class Difference:
    """All that was found; tensors and layers in the order of execution."""

    first: Side
    second: Side
    tensors: list[TensorDifference]
    layers: list[LayerDifference]

    @property
    def differing(self) -> list[TensorDifference]:
        """The tensors that are not identical, the furthest first."""
        return sorted((t for t in self.tensors if not t.identical), key=lambda t: -t.error)

    @property
    def config_fields(self) -> list[str]:
        """The fields in which the two configs differ."""
        return differing_fields(self.first.config, self.second.config)

    @property
    def rounding(self) -> float:
        """Errors up to here are what the coarser of the two precisions makes of the same step."""
        return max(ROUNDING.get(side.precision, ROUNDING["float32"]) for side in (self.first, self.second))

    def first_divergence(self, *, tolerance: float) -> Link | None:
        """The first tensor beyond the tolerance and ten times further off than all before it."""
        return first_divergence(accumulation({t.name: t.error for t in self.tensors}), tolerance=tolerance)


def compare_sides(first: Side, second: Side) -> list[TensorDifference]:
    """Every tensor that can be compared: where one side has only the model, Adam's state is left out."""
    sides = [first.tensors, second.tensors]
    if first.packed or second.packed:
        sides = [{name: array for name, array in side.items() if ".adam." not in name} for side in sides]
    return compare_tensors(*sides)


def compare_tensors(first: Weights, second: Weights) -> list[TensorDifference]:
    """Every tensor of either side, in the order of execution."""
    found = errors(second, first, relative_l2)
    tensors = []
    for name in sorted(found, key=_place):
        note = _note(name, first, second)
        identical = not note and np.array_equal(first[name], second[name])
        tensors.append(TensorDifference(name, found[name], note, identical))
    return tensors


def compare_activations(first: Side, second: Side, latents: np.ndarray) -> list[LayerDifference]:
    """Each layer's output in eval mode, each side in its own framework; A's images go to both discriminators."""
    configs = [runnable_config(side) for side in (first, second)]
    architectures = [architecture_of(*pair) for pair in zip((first, second), configs, strict=True)]
    if architectures[0] != architectures[1]:
        raise UserError(f"--latents needs equal networks, but those of {first.path} and {second.path} differ")
    reference = _activations(first, configs[0], architectures[0], latents)
    images = reference["generator"][-1]
    measured = _activations(second, configs[1], architectures[1], latents, images)
    # The same code twice is the same to the last bit: any difference then comes from the weights.
    modes = [(s.framework, c.variant, c.precision) for s, c in zip((first, second), configs, strict=True)]
    tolerance = 0.0 if modes[0] == modes[1] else max(ROUNDING[config.precision] for config in configs)
    layers = []
    for network, outputs in reference.items():
        pairs = zip(measured[network], outputs, strict=True)
        links = list(sequence({f"{network}.layers.{i}": relative_l2(b, a) for i, (b, a) in enumerate(pairs)}))
        parting = first_divergence(links, tolerance=tolerance)
        kinds = [type(spec).__name__ for spec in getattr(architectures[0], network)]
        layers += [LayerDifference(link, kind, link is parting) for link, kind in zip(links, kinds, strict=True)]
    return layers


def runnable_config(side: Side) -> TrainConfig:
    """The config to run a side with; bfloat16 runs in float32, which its weights are stored in."""
    try:
        config = TrainConfig(**side.config)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{side.path} does not say how to run it: its config is not one of this version ({error})"
        ) from None
    if side.framework not in FRAMEWORK_NAMES:
        raise UserError(
            f"{side.path} does not say how to run it: its framework is {side.framework!r}, not torch or jax"
        )
    return replace(config, precision="float64" if config.precision == "float64" else "float32")


def architecture_of(side: Side, config: TrainConfig) -> Architecture:
    """The preset's networks in the width and with the channels that the tensors have."""
    try:
        return build.architecture_of(config, side.tensors)
    except UserError as error:
        raise UserError(f"{side.path} cannot be run: {error}") from None


def load_probe(framework: str) -> Probe:
    """The framework is imported here; one that is not installed raises UserError."""
    try:
        if framework == "torch":
            from comparison.parity.probes.torch_probe import TorchProbe as FrameworkProbe
        else:
            from comparison.parity.probes.jax_probe import JaxProbe as FrameworkProbe
    except ImportError as error:
        name = FRAMEWORK_NAMES[framework]
        raise UserError(f"{name} is not installed ({error}): pip install {PACKAGES[framework]}") from None
    probe = FrameworkProbe()
    probe.configure(num_threads=default_num_threads())
    return probe


def _activations(
    side: Side, config: TrainConfig, architecture: Architecture, latents: np.ndarray, images: np.ndarray | None = None
) -> dict[str, list[np.ndarray]]:
    probe = load_probe(side.framework)
    trainer = probe.create_trainer(config, architecture)
    try:
        trainer.load_weights({n: array for n, array in side.tensors.items() if not n.startswith(AVERAGE_PREFIX)})
    except WeightsError as error:
        raise UserError(f"{side.path} cannot be run: {error}") from None
    column = latents[:, :, None, None].astype(np.float64)
    generated = probe.activations(trainer, "generator", column, train=False)
    images = generated[-1] if images is None else images
    return {
        "generator": generated,
        "discriminator": probe.activations(trainer, "discriminator", images.astype(np.float64), train=False),
    }


def _place(name: str) -> tuple[int, int, str]:
    """Sorts names by when a step settles them: forward by layer, but gradients from the last layer to the first."""
    found = NAME.fullmatch(name.removeprefix(AVERAGE_PREFIX))
    if not found:
        return len(PHASES), 0, name
    layer = int(found[2] or 0)
    if name.startswith(AVERAGE_PREFIX):
        return PHASES.index("average"), layer, name
    kinds = {".adam.step": "step", ".adam.": "moment", ".running_": "statistic"}
    kind = next((kind for mark, kind in kinds.items() if mark in name), "parameter")
    return PHASES.index(f"{found[1]} {kind}"), -layer if kind == "moment" else layer, name


def _note(name: str, first: Weights, second: Weights) -> str:
    if name not in second or name not in first:
        return f"only in {'A' if name in first else 'B'}"
    a, b = first[name], second[name]
    if a.shape != b.shape:
        return f"{a.shape} / {b.shape}"
    return f"{a.dtype} / {b.dtype}" if a.dtype != b.dtype else ""


def load_side(path: Path) -> Side:
    """A checkpoint, the newest of a run folder or a packed model; whatever is wrong with it raises UserError."""
    packed = find_packed(path)
    path = path if packed else find_checkpoint(path)
    try:
        weights, average, header = packed or load_checkpoint(path)
        json.dumps(header, allow_nan=False)  # a NaN in it would surface only when --json writes it again
        tensors = weights | {f"{AVERAGE_PREFIX}{name}": array for name, array in average.items()}
        framework, config = str(header.get("framework", "unknown")), dict(header.get("config", {}))
        side = Side(path, framework, header.get("step"), config, tensors, packed is not None)
    except UserError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no checkpoint of this project ({error})") from None
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {name} holds NaN or infinity, which is close to nothing; take an earlier one")
    return side
