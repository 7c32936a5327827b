"""Weights taken from PyTorch's module into Flax's, and what was in Flax's before: a person's own port of them."""

import itertools
import math
from collections.abc import Iterable

import numpy as np
from torch import nn

from comparison.parity.divergence import errors
from comparison.port.arrays import Grid, distance, leaves, likeness
from comparison.port.forward import Inputs, outputs_error, run_both
from comparison.port.pairing import Pairing
from comparison.port.side import Call, Finding

NEAR = 0.7  # two tensors drawn apart are 1.4 apart (relative L2), a tensor and its average are near
EQUAL = 1e-6


def copy_weights(pairing: Pairing, inputs: Inputs) -> list[str]:
    """Load PyTorch's weights into Flax's module; returns what could not be taken over, in words.

    A linear layer may flatten an image or be made one: it is tried in both orders of its axes, and what agrees decides.
    """
    misfits = []
    for pair in list(pairing.pairs.values()):
        try:
            pairing.in_flax(pair.torch, pairing.sides[0].tensors(pair.torch))
        except (ValueError, AttributeError) as error:
            misfits.append(f"`{pair.torch}` does not fit Flax's `{pair.flax}` ({error})")
            del pairing.pairs[pair.torch]
    lost = _load(pairing)
    calls = run_both(pairing, inputs, "float32", training=False).torch_calls
    for pair in pairing.pairs.values():
        module = pairing.sides[0].at(pair.torch)
        if isinstance(module, nn.Linear):
            sizes = (module.in_features, module.out_features)
            offered = list(itertools.product(*([(), *flattened_grids(calls, size)] for size in sizes)))
            sums = []
            for pair.rows, pair.columns in offered if len(offered) > 1 else ():
                _load(pairing)
                sums.append(_error(pairing, inputs))
            if sums:
                pair.rows, pair.columns = offered[int(np.argmin(sums))]
                lost = _load(pairing)
    return misfits + lost


def flattened_grids(calls: Iterable[Call], size: int) -> list[Grid]:
    """Channels, rows and columns of every image that has as many values as this axis."""
    shapes = {tuple(a.shape[1:]): None for call in calls for a in leaves((call.args, call.outputs)) if a.ndim > 3}
    return [s for s in shapes if math.prod(s) == size and s[0] > 1 and math.prod(s[1:]) > 1]


def weight_faults(pairing: Pairing, given: dict[str, np.ndarray]) -> list[Finding]:
    """Variables that differ from PyTorch's, if Flax's module was given ported weights rather than its own."""
    tensors = pairing.sides[0].tensors("")
    wanted = {
        path: array
        for path, array in reversed(pairing.everything_in_flax(tensors).items())
        if path in given and given[path].shape == array.shape
    }
    off = errors({path: given[path] for path in wanted}, wanted)
    if not any(off[path] < NEAR for path, array in wanted.items() if array.size > 1 and np.ptp(array) > 0):
        return []
    unequal = [path for path, error in off.items() if not error <= EQUAL]
    average = len(unequal) > 1 and all(off[path] < NEAR for path in unequal)
    faults = []
    for path in unequal:
        owner = next(p.torch for p in pairing.pairs.values() if not p.flax or path.startswith(f"{p.flax}."))
        cause = "all that differ are near: an average of the weights, or another checkpoint" if average else None
        faults.append(
            Finding(
                "weights",
                owner,
                path,
                off[path],
                0.0,
                "its values",
                cause or _cause(path, given[path], wanted, tensors),
            )
        )
    return faults


def _load(pairing: Pairing) -> list[str]:
    known = {path: array.shape for path, array in pairing.sides[1].tensors().items()}
    lost, loaded = [], {}
    for pair in pairing.pairs.values():
        made = pairing.in_flax(pair.torch, pairing.sides[0].tensors(pair.torch))
        start = f"{pair.flax}." if pair.flax else ""
        for name, array in made.items():
            path = f"{start}{name}"
            if known.get(path) == array.shape:
                loaded[path] = array
            elif np.any(array != 0):
                theirs = f"holds {name} as {known[path]}, not {array.shape}" if path in known else f"has {name}"
                lost.append(f"`{pair.torch}`: Flax's `{pair.flax}` {theirs}")
        if pair.kind != "own parameters":
            left = [path for path in known if path.startswith(start) and path not in loaded]
            lost += [f"Flax's `{path}`, which PyTorch's `{pair.torch}` has not" for path in left]
    pairing.sides[1].loaded |= loaded
    return lost


def _error(pairing: Pairing, inputs: Inputs) -> float:
    """How far apart all paired calls are in sum; one that agrees in nothing counts 1."""
    found = run_both(pairing, inputs, "float32", training=False)
    return sum(min(1.0, outputs_error(pairing, torch, flax.outputs, found.grids)) for torch, flax in found.paired())


def _cause(path: str, given: np.ndarray, wanted: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> str | None:
    for other, array in wanted.items():
        if other != path and array.size > 1 and np.ptp(array) > 0 and distance(given, array) <= EQUAL:
            return f"it holds what belongs into `{other}`"
    for name, array in tensors.items():
        for order in itertools.permutations(range(array.ndim)):
            moved = order != tuple(range(array.ndim)) or array.shape != given.shape
            if array.ndim > 1 and moved and distance(given.ravel(), array.transpose(order).ravel()) <= EQUAL:
                return f"it holds `{name}` with its axes in the order {order}, not rearranged for Flax's layout"
    if given.size and np.ptp(given) == 0:
        return f"it is {given.ravel()[0]:g} throughout, as if it had not been loaded"
    return likeness(given, wanted[path], EQUAL)
