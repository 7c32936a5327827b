"""Weights taken from PyTorch's module into Flax's, and what was in Flax's before: a person's own port of them."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from comparison.port.arrays import distance, error_between
from comparison.port.forward import Sides, arrays, run_both
from comparison.port.pairing import Pair, Pairing, choices

NEAR = 0.7  # two tensors drawn apart are 1.4 apart (relative L2), a tensor and its average are near
EQUAL = 1e-6


class WeightFault(NamedTuple):
    """A Flax variable that does not hold what PyTorch's module holds, though others of the module do."""

    pair: Pair
    torch: str
    flax: str
    error: float
    cause: str | None


def copy_weights(sides: Sides, pairing: Pairing, inputs: tuple[Any, Any]) -> list[str]:
    """Load PyTorch's weights into Flax's module; returns what could not be taken over, in words.

    A linear layer that stands behind or before a flattened image is tried in both orders of its axis: what follows it
    decides.
    """
    lost = _load(sides, pairing)
    for side in sides:
        side.prepare("float32", training=False)
    calls = sides[0].run(*inputs[0])
    for pair in pairing.pairs:
        offered = choices(pair, sides[0], calls)
        if len(offered) > 1:
            errors = []
            for rows, columns in offered:
                pair.rows, pair.columns = rows, columns
                _load(sides, pairing)
                errors.append(_error_after(sides, pairing, pair, inputs))
            best = int(np.argmin(errors))
            pair.rows, pair.columns = offered[best] if errors[best] < 0.5 * errors[0] else offered[0]
            lost = _load(sides, pairing)
    return lost


def weight_faults(sides: Sides, pairing: Pairing, given: dict[str, np.ndarray]) -> list[WeightFault]:
    """Variables that differ from PyTorch's, if Flax's module was given ported weights rather than its own."""
    torch_tensors = sides[0].tensors("")
    wanted, owners = {}, {}
    for pair in pairing.pairs:
        made = pairing.weights_of(pair, sides, sides[0].tensors(pair.torch))
        for name, array in made.items():
            path = f"{pair.flax}.{name}".strip(".")
            if path in given and given[path].shape == array.shape:
                wanted[path], owners[path] = array, pair
    drawn = [path for path, array in wanted.items() if array.size > 1 and np.ptp(array) > 0]
    if not any(_relative(given[path], wanted[path]) < NEAR for path in drawn):
        return []
    off = {path: _relative(given[path], array) for path, array in wanted.items()}
    unequal = [path for path, error in off.items() if not error <= EQUAL]
    near = len(unequal) > 1 and all(off[path] < NEAR for path in unequal)
    return [
        WeightFault(
            owners[path],
            owners[path].torch,
            path,
            off[path],
            "all that differ are near: an average of the weights, or another checkpoint"
            if near
            else _cause(path, given[path], wanted, torch_tensors),
        )
        for path in unequal
    ]


def _load(sides: Sides, pairing: Pairing) -> list[str]:
    loaded, lost = {}, []
    known = {path: array.shape for path, array in sides[1].tensors("").items()}
    filled = set()
    for pair in pairing.pairs:
        tensors = sides[0].tensors(pair.torch)
        try:
            made = pairing.weights_of(pair, sides, tensors)
        except (ValueError, AttributeError) as error:
            lost.append(f"`{pair.torch}` does not fit Flax's `{pair.flax}` ({error})")
            continue
        for name, array in made.items():
            path = f"{pair.flax}.{name}".strip(".")
            if known.get(path) == array.shape:
                loaded[path] = array
                filled.add(path)
            elif np.any(array != 0):
                theirs = f"holds {name} as {known[path]}, not {array.shape}" if path in known else f"has {name}"
                lost.append(f"`{pair.torch}`: Flax's `{pair.flax}` {theirs}")
        below = [path for path in known if path.startswith(f"{pair.flax}." if pair.flax else "")]
        if pair.kind != "own parameters":
            lost += [f"Flax's `{path}`, which PyTorch's `{pair.torch}` has not" for path in below if path not in filled]
    sides[1].load(loaded)
    return lost


def _error_after(sides: Sides, pairing: Pairing, pair: Pair, inputs: tuple[Any, Any]) -> float:
    """How far apart the inputs of what follows a pair are, or the outputs if nothing does."""
    found = run_both(sides, inputs, "float32", training=False)
    paired = {other.torch: other.flax for other in pairing.pairs}
    theirs = {(call.path, call.index): call for call in found.flax_calls}
    order = [call for call in found.torch_calls if call.path in paired]
    places = [place for place, call in enumerate(order) if call.path == pair.torch]
    for call in order[places[-1] + 1 :] if places else []:
        if (match := theirs.get((paired[call.path], call.index))) is not None:
            return error_between(arrays(sides[1], match.args), arrays(sides[0], call.args), found.grids)
    last = [calls[-1].outputs if calls else () for calls in (found.torch_calls, found.flax_calls)]
    return error_between(arrays(sides[1], last[1]), arrays(sides[0], last[0]))


def _cause(
    path: str, given: np.ndarray, wanted: dict[str, np.ndarray], torch_tensors: dict[str, np.ndarray]
) -> str | None:
    right = wanted[path]
    for other, array in wanted.items():
        if (
            other != path
            and array.shape == given.shape
            and array.size > 1
            and distance(given, array) <= EQUAL
            and np.ptp(array) > 0
        ):
            return f"it holds what belongs into `{other}`"
    if given.ndim > 2 and distance(np.flip(given, tuple(range(given.ndim - 2))), right) <= EQUAL:
        return "its kernel's axes are flipped"
    for order in itertools.permutations(range(given.ndim)):
        turned = given.transpose(order)
        if order != tuple(range(given.ndim)) and turned.shape == right.shape and distance(turned, right) <= EQUAL:
            return f"its axes are in another order: {order} of it agrees"
    for name, array in torch_tensors.items():
        for order in itertools.permutations(range(array.ndim)):
            if array.ndim > 1 and distance(given.reshape(-1), array.transpose(order).reshape(-1)) <= EQUAL:
                return (
                    f"it holds `{name}` with its axes in the order {order}, its values not rearranged for Flax's layout"
                )
    if given.ndim and np.ptp(given) == 0:
        return f"it is {given.ravel()[0]:g} throughout, as if it had not been loaded"
    flat, goal = given.ravel().astype(np.float64), right.ravel().astype(np.float64)
    factor = float(flat @ goal / (flat @ flat or 1))
    if distance(factor * flat, goal) <= EQUAL:
        return f"PyTorch's is {factor:.6g} times as large"
    return None


def _relative(measured: np.ndarray, reference: np.ndarray) -> float:
    size = float(np.linalg.norm(reference))
    return float(np.linalg.norm(measured.astype(np.float64) - reference)) / (size or 1.0)
