"""All state of both trainers, compared tensor by tensor, and the late states from which rung 13 goes on."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from common.contract import NETWORKS, StepMetrics, Weights
from common.networks.layers import Architecture, BatchNorm, Conv, ConvTranspose, Linear
from comparison.parity.divergence import errors
from comparison.parity.pair import Pair, Snapshot

# The next two steps count from and to a multiple of what people count to: 1,000, 2,048 with every smaller power of two,
# and 100,000, which is further than any preset trains.
COUNTS = (9_999, 10_239, 99_999)
LARGE = 4.0
SATURATED_LOGIT = 40.0


class LateState(NamedTuple):
    """A state that training reaches late or rarely."""

    name: str
    weights: Weights


def late_states(pair: Pair, precision: str) -> Iterator[LateState]:
    """Made of PyTorch's state after ten steps, each with one thing that ten steps do not bring about.

    The last is the checkpoint that the ladder was given, if it was.
    """
    start = pair.trajectory(pair.torch, precision).at(10).weights
    for count in COUNTS:
        steps = {f"{network}.adam.step": np.array(count, np.int64) for network in NETWORKS}
        yield LateState(f"step {count:,}", {**start, **steps})
    kernels = {name: LARGE * array for name, array in start.items() if _is_kernel(name, array)}
    yield LateState("large weights", {**start, **kernels})
    yield LateState("saturated scores", {**start, **_saturating(pair, precision, start)})
    yield LateState("dead channels", {**start, **_dead_channels(pair.architecture, start)})
    if pair.checkpoint is not None:
        yield LateState("the checkpoint", in_precision(pair.checkpoint, precision))


def in_precision(weights: Weights, precision: str) -> Weights:
    """Copies in a precision; counts stay integers."""
    return {name: array.astype(precision) if array.dtype.kind == "f" else array for name, array in weights.items()}


def errors_of_state(measured: Weights, reference: Weights) -> dict[str, float]:
    """The error of every tensor; that of a single number, D's last bias, relative to its layer's kernel instead.

    Its gradient is the difference of two means of about 0.5: how far they cancel decides how exact it can be.
    """
    found = errors(measured, reference)
    for name, array in reference.items():
        kernel = reference.get(name.replace(".bias", ".weight"))
        if name.startswith("discriminator.") and ".bias" in name and array.size == 1 and array != 0:
            assert kernel is not None
            found[name] *= min(1.0, float(np.abs(array).item() / np.linalg.norm(kernel)))
    return found


def metrics_of_step(snapshot: Snapshot, step: int) -> Weights:
    """What one step measured, by name."""
    return dict(zip(StepMetrics._fields, snapshot.metrics[:, step - 1], strict=True))


def parts_of(snapshot: Snapshot) -> Weights:
    """All state and all measurements as four vectors, or three where there is no BatchNorm."""
    chosen = {
        "parameters": lambda name: ".adam." not in name and ".running_" not in name,
        "moments": lambda name: ".adam.exp_" in name,
        "running statistics": lambda name: ".running_" in name,
    }
    parts = {
        part: [array.ravel().astype(np.float64) for name, array in snapshot.weights.items() if belongs(name)]
        for part, belongs in chosen.items()
    }
    return {part: np.concatenate(arrays) for part, arrays in parts.items() if arrays} | {
        "losses, scores": snapshot.metrics.ravel().astype(np.float64)
    }


def _is_kernel(name: str, array: np.ndarray) -> bool:
    return name.endswith(".weight") and array.ndim > 1


def _saturating(pair: Pair, precision: str, start: Weights) -> Weights:
    """D's last kernel, so large that a real image is scored as surely fake or surely real."""
    images, _ = pair.data(10, 1)
    trainer = pair.trainer(pair.torch, precision, weights=start)
    shown = pair.torch.network_inputs(trainer, images[0])
    logits = pair.torch.activations(trainer, "discriminator", shown, train=True)[-1]
    last = f"discriminator.layers.{len(pair.architecture.discriminator) - 1}.weight"
    return {last: start[last] * (SATURATED_LOGIT / np.abs(logits).max()).astype(precision)}


def _dead_channels(architecture: Architecture, start: Weights) -> Weights:
    """Of every hidden layer two channels without a signal, the first of which BatchNorm switches off as well."""
    changed: Weights = {}
    for network in NETWORKS:
        for index, (spec, following) in enumerate(pairwise(getattr(architecture, network))):
            if not isinstance(spec, Conv | ConvTranspose | Linear):
                continue
            name = f"{network}.layers.{index}.weight"
            kernel = changed[name] = start[name].copy()
            (kernel.swapaxes(0, 1) if isinstance(spec, ConvTranspose) else kernel)[:2] = 0
            if isinstance(following, BatchNorm):
                for parameter, value in (("weight", 0.0), ("bias", -1.0), ("running_mean", 0.0), ("running_var", 0.0)):
                    name = f"{network}.layers.{index + 1}.{parameter}"
                    changed[name] = start[name].copy()
                    changed[name][0] = value
    return changed
