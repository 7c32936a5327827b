"""Gradients of a loss, parameter by parameter from the last to the first, and each pair's own for equal cotangents."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from comparison.port.arrays import distance, error_between, is_float, leaves, likeness, mapped, nearest
from comparison.port.forward import LEAST, NUDGES, Check, Pass, allowed, fed
from comparison.port.side import Call, Finding

Losses = tuple[Callable[..., Any], Callable[..., Any]]  # PyTorch's and Flax's
SMALLEST_SHARE = 1e-3  # of the largest gradient: one that is smaller is held against this share, for it may be rounding


def sum_of_squares(outputs: Any) -> Any:
    """The loss if none is given: of every output that is a floating point number."""
    return sum((leaf**2).sum() for leaf in leaves(outputs) if "float" in str(leaf.dtype))


def check_loss(found: Pass, losses: Losses) -> tuple[Finding, list[np.ndarray]]:
    """Both losses of PyTorch's outputs: their values and gradients; and the latter, to be sent back."""
    torch_side, flax_side = found.pairing.sides
    outputs = found.torch_calls[-1].outputs
    references = torch_side.arrays(outputs)

    def replaced(leaf: Any) -> Any:
        match = nearest(flax_side.array(leaf), references, found.grids)
        return leaf if match is None else flax_side.native(match.layout(references[match.place]))

    value, gradients = torch_side.of_loss(outputs, losses[0])
    flax_value, flax_gradients = flax_side.of_loss(mapped(found.flax_calls[-1].outputs, replaced), losses[1])
    error = distance(np.array(flax_value), np.array(value))
    error = max(error, error_between(flax_gradients, gradients, found.grids))
    what, tolerance = "the loss of equal outputs is", 10 * LEAST[found.precision]
    check = Finding("gradients", "", "", error, 0.0, what, allowed=tolerance)
    check.likely_cause = f"PyTorch's is {value:.6g} and Flax's {flax_value:.6g}" if check.fails else None
    return check, gradients


def send_back(found: Pass, check: Check, cotangents: list[np.ndarray] | None = None) -> list[Finding]:
    """What one pair sends back to its parameters and inputs, for equal inputs and cotangents: these, or drawn ones."""
    pairing, call = found.pairing, check.torch
    torch_side, flax_side = pairing.sides
    outputs = [array for array in torch_side.arrays(call.outputs) if is_float(array)]
    if cotangents is None:
        draw = np.random.default_rng(0)
        cotangents = [draw.standard_normal(each.shape).astype(each.dtype) for each in outputs]
    given = cotangents

    def of_flax(theirs: list[np.ndarray]) -> list[np.ndarray]:
        left, made = dict(enumerate(outputs)), []
        for each in theirs:
            match = nearest(each, list(left.values()), found.grids)
            key = list(left)[match.place] if match else -1
            made.append(match.layout(given[key]) if match else np.zeros(each.shape))
            left.pop(key, None)
        return made

    references = [array for array in torch_side.arrays((call.args, call.kwargs)) if is_float(array)]
    started = fed(pairing, call, check.flax, found.grids)
    reached = [array for array in flax_side.arrays((started.args, started.kwargs)) if is_float(array)]
    matches = [nearest(array, references, found.grids) for array in reached]
    of_parameters, of_inputs = flax_side.pulled_back(started, of_flax)
    measured = {_joined(check.flax.path, name): array for name, array in of_parameters.items()}
    measured |= {f"input {index}": array for index, array in enumerate(of_inputs)}

    def wanted(nudge: Any = None) -> dict[str, np.ndarray]:
        of_parameters, of_inputs = torch_side.pulled_back(call, lambda _: given, nudge)
        named = {_joined(call.path, name): gradient for name, gradient in of_parameters.items()}
        made = pairing.everything_in_flax(named, summed=False)
        for index, match in enumerate(matches):
            if match and match.alone:
                made[f"input {index}"] = match.layout(of_inputs[match.place])
        return {name: array for name, array in made.items() if name in measured}

    reference, moved = wanted(), [wanted(nudge) for nudge in NUDGES]
    least = SMALLEST_SHARE * max((float(np.abs(g).max(initial=0)) for g in reference.values()), default=0.0)
    checks = []
    for name, gradient in reference.items():
        rounding = max(distance(each[name], gradient, least) for each in moved)
        tolerance = max(allowed(rounding, found.precision), 10 * LEAST[found.precision])
        own = name.removeprefix(check.flax.path).strip(".").replace("input 0", "input")
        what = f"the gradient of its {own} is"
        error = distance(measured[name], gradient, least)
        each = Finding("gradients", call.path, name, error, rounding, what, allowed=tolerance)
        each.likely_cause = likeness(measured[name], gradient, tolerance) if each.fails else None
        checks.append(each)
    return checks


def with_zeros(found: Pass, check: Check) -> Check:
    """The same call with zeros in the first row of what is fed: a kink, as that of ReLU, is seen only there."""
    side, call = found.pairing.sides[0], check.torch

    def changed(tensor: Any) -> Any:
        if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) < 2:
            return tensor
        return side.native(np.concatenate([np.zeros_like(side.array(tensor[:1])), side.array(tensor[1:])]))

    call = replace(call, args=mapped(call.args, changed), kwargs=mapped(call.kwargs, changed))
    return replace(check, torch=again(found, call))


def again(found: Pass, call: Call) -> Call:
    """A call of PyTorch's with other inputs, and what it returns for them."""
    outputs, after = found.pairing.sides[0].alone(call)
    return replace(call, outputs=outputs, after=after)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}".strip(".")
