"""Gradients of a loss, parameter by parameter from the last to the first, and each pair's own for equal cotangents."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from comparison.port.arrays import distance, error_between, is_float, leaves, mapped, nearest
from comparison.port.forward import LEAST, MOST, NUDGES, Check, Pass, Sides, allowed, arrays, fed, native
from comparison.port.pairing import Pairing

Losses = tuple[Callable[..., Any], Callable[..., Any]]  # PyTorch's and Flax's
SMALLEST_SHARE = 1e-3  # of the largest gradient: one that is smaller is held against this share, for it may be rounding


@dataclass
class GradientCheck:
    """One parameter's gradient of the loss, or all that one pair's module sends back alone."""

    torch: str
    flax: str
    measured: float
    rounding: float
    allowed: float
    what: str

    @property
    def fails(self) -> bool:
        return not self.measured <= self.allowed


def sum_of_squares(outputs: Any) -> Any:
    """The loss if none is given: of every output that is a floating point number."""
    return sum((leaf**2).sum() for leaf in leaves(outputs) if "float" in str(leaf.dtype))


def check_loss(sides: Sides, found: Pass, losses: Losses) -> GradientCheck:
    """Both losses of PyTorch's outputs: their values, and their gradients for these outputs."""
    references = arrays(sides[0], found.torch_calls[-1].outputs)

    def replaced(leaf: Any) -> Any:
        own = sides[1].array(leaf)
        match = nearest(own, references, found.grids)
        return leaf if match is None else sides[1].native(match.layout(references[match.place]))

    value, gradients = sides[0].loss_of(found.torch_calls[-1].outputs, losses[0])
    flax_value, flax_gradients = sides[1].loss_of(mapped(found.flax_calls[-1].outputs, replaced), losses[1])
    error = distance(np.array(flax_value), np.array(value))
    measured = max(error, error_between(flax_gradients, gradients, found.grids))
    return GradientCheck("", "", measured, 0.0, 10 * LEAST[found.precision], "the loss of equal outputs")


def check_parameters(
    sides: Sides, pairing: Pairing, inputs: tuple[Any, Any], losses: Losses, precision: str
) -> list[GradientCheck]:
    """Every parameter's gradient through the whole model."""
    _, reference = sides[0].gradients(*inputs[0], loss=losses[0])
    _, measured = sides[1].gradients(*native(sides[1], inputs[1]), loss=losses[1])
    nudged = [sides[0].gradients(*inputs[0], loss=losses[0], nudge=nudge)[1] for nudge in NUDGES]
    least = SMALLEST_SHARE * max((float(np.abs(g).max(initial=0)) for g in reference.values()), default=0.0)
    checks = []
    for pair in reversed(pairing.pairs):
        wanted = _of_pair(sides, pairing, pair, reference)
        moved = [_of_pair(sides, pairing, pair, each) for each in nudged]
        for name, gradient in wanted.items():
            path = f"{pair.flax}.{name}".strip(".")
            if path in measured:
                rounding = max(distance(each[name], gradient, least) for each in moved)
                tolerance = max(allowed(rounding, precision), 10 * LEAST[precision])
                error = distance(measured[path], gradient, least)
                checks.append(GradientCheck(pair.torch, path, error, rounding, tolerance, "its gradient"))
    return checks


def check_alone(sides: Sides, pairing: Pairing, found: Pass, check: Check) -> GradientCheck:
    """What one pair sends back, to its parameters and its inputs, for equal inputs and equal cotangents."""
    call, pair = check.torch, next((p for p in pairing.pairs if p.torch == check.torch.path), None)
    if pair is None:  # a kink, as that of ReLU, is seen only where an input lies on it
        call = replace(call, args=mapped(call.args, _with_zeros), kwargs=mapped(call.kwargs, _with_zeros))
    outputs = arrays(sides[0], call.outputs)
    draw = np.random.default_rng(0)
    cotangents = [draw.standard_normal(each.shape).astype(each.dtype) if is_float(each) else each for each in outputs]

    def of_flax(theirs: list[Any]) -> list[Any]:
        left, made = dict(enumerate(outputs)), []
        for each in theirs:
            match = nearest(np.asarray(each), list(left.values()), found.grids)
            key = list(left)[match.place] if match else -1
            cotangent = match.layout(cotangents[key]) if match else np.zeros(each.shape)
            left.pop(key, None)
            made.append(sides[1].native(np.ascontiguousarray(cotangent)).astype(each.dtype))
        return made

    references = arrays(sides[0], (call.args, call.kwargs))
    args, kwargs = fed(sides, call, check.flax, found.grids)
    given = [array for array in arrays(sides[1], (args, kwargs)) if is_float(array)]
    matches = [nearest(array, references, found.grids) for array in given]
    before = pairing.weights_of(pair, sides, {n: sides[0].array(t) for n, t in call.before.items()}) if pair else {}
    started = replace(check.flax, before={name: sides[1].native(array) for name, array in before.items()})
    measured, measured_inputs = sides[1].pulled_back(started, args, kwargs, of_flax)

    def as_flax(gradients: tuple[dict[str, np.ndarray], list[np.ndarray]]) -> dict[str, np.ndarray]:
        made = pairing.weights_of(pair, sides, gradients[0], summed=False) if pair else {}
        for index, match in enumerate(matches):
            if match and match.alone and gradients[1]:
                made[f"input {index}"] = match.layout(gradients[1][match.place])
        return made

    wanted = as_flax(sides[0].pulled_back(call, cotangents))
    theirs = measured | {f"input {index}": array for index, array in enumerate(measured_inputs)}
    least = SMALLEST_SHARE * max((float(np.abs(g).max(initial=0)) for g in wanted.values()), default=0.0)
    errors = {name: distance(theirs[name], wanted[name], least) for name in wanted if name in theirs}
    moved = [as_flax(sides[0].pulled_back(call, cotangents, nudge=nudge)) for nudge in NUDGES]
    rounding = max((distance(each[name], wanted[name], least) for each in moved for name in errors), default=0.0)
    worst = max(errors, key=errors.__getitem__, default="")
    what = f"the gradient of its {worst.replace('input 0', 'input')}" if worst else ""
    tolerance = min(max(allowed(rounding, found.precision), 10 * LEAST[found.precision]), MOST[found.precision])
    return GradientCheck(call.path, check.flax.path, errors.get(worst, 0.0), rounding, tolerance, what)


def _of_pair(sides: Sides, pairing: Pairing, pair: Any, gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    start = f"{pair.torch}." if pair.torch else ""
    own = {name.removeprefix(start): array for name, array in gradients.items() if name.startswith(start)}
    return pairing.weights_of(pair, sides, own, summed=False)


def _with_zeros(tensor: Any) -> Any:
    if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) < 2:
        return tensor
    changed = tensor.clone()
    changed[0] = 0
    return changed
