"""Why two modules differ, asked in the order in which a careful person would ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from flax import nnx
from torch import nn

from common.errors import UserError
from common.stages import stage
from comparison.port.arrays import Call, error_between, leaves, mapped
from comparison.port.causes import likely_cause
from comparison.port.conditions import Fact, conditions, hashes
from comparison.port.failure import SideError
from comparison.port.flax_side import FlaxSide
from comparison.port.forward import Check, Pass, Sides, arrays, between, check_pass, compare_alone, native, run_both
from comparison.port.gradients import GradientCheck, Losses, check_alone, check_loss, check_parameters, sum_of_squares
from comparison.port.load import Map, arrange, draw_inputs
from comparison.port.pairing import Pairing, pair_modules
from comparison.port.torch_side import TorchSide
from comparison.port.weights import WeightFault, copy_weights, weight_faults

PRECISIONS = ("float64", "float32")


@dataclass
class Fault:
    """The first thing that differs, and all that was found out about it."""

    stage: str  # weights, forward or gradients
    torch: str
    flax: str
    measured: float
    rounding: float
    what: str
    cause: str | None
    readings: list[str] = field(default_factory=list)


@dataclass
class Result:
    """Everything that was found; `first` is None if the two agree."""

    first: Fault | None
    pairing: Pairing
    sides: Sides
    facts: list[Fact]
    inputs: list[tuple[str, str]]  # each input as PyTorch and as Flax hold it
    lost: list[str]
    notes: list[str]
    weights: list[WeightFault]
    passes: list[Pass]
    gradients: dict[str, list[GradientCheck]]  # by precision, from the last parameter to the first


def compare(
    torch_module: nn.Module,
    flax_module: nnx.Module,
    inputs: Any = None,
    *,
    by_hand: Map | None = None,
    losses: Losses = (sum_of_squares, sum_of_squares),
    precisions: Sequence[str] = PRECISIONS,
) -> Result:
    """Compare two modules on inputs in PyTorch's layout: an array, a tuple of them, or a dict with names.

    Neither module is changed. Raises UserError for what keeps them from being compared.
    """
    was = jax.config.read("jax_enable_x64")
    try:
        return _compare(torch_module, flax_module, inputs, by_hand or Map(), losses, precisions)
    finally:
        jax.config.update("jax_enable_x64", was)


def _compare(
    torch_module: nn.Module,
    flax_module: nnx.Module,
    inputs: Any,
    by_hand: Map,
    losses: Losses,
    precisions: Sequence[str],
) -> Result:
    sides = TorchSide(torch_module), FlaxSide(flax_module)
    facts = conditions(torch_module, flax_module, sides)
    notes = [] if inputs is not None else ["No inputs were given: numbers were drawn."]
    inputs = draw_inputs(torch_module) if inputs is None else inputs
    modules = torch_module, flax_module
    arranged = arrange(inputs, modules, by_hand.inputs)
    first = run_both(sides, arranged, "float32", training=False)
    if first.failure:
        as_they_are = arrange(inputs, modules, by_hand.inputs, turn=False)
        other = run_both(sides, as_they_are, "float32", training=False)
        if not other.failure:
            arranged, first = as_they_are, other
    if first.failure and not first.flax_calls:
        raise first.failure
    received, notes_on_inputs = _inputs_as_held(sides, arranged)
    notes += notes_on_inputs
    given = sides[1].tensors("")
    pairing = pair_modules(sides, (first.torch_calls, first.flax_calls), by_hand.modules)
    lost = copy_weights(sides, pairing, arranged)
    weights = weight_faults(sides, pairing, given)
    modes = (False, True) if all(side.training for side in sides) else (False,)
    if sides[0].training != sides[1].training:
        notes.append(
            f"Only {'PyTorch' if sides[0].training else 'Flax'}'s module is in training mode: compared in eval mode."
        )
    passes: list[Pass] = []
    with stage("comparing modules", len(precisions) * len(modes)) as parts:
        for precision in precisions:
            for training in modes:
                parts.begin(f"{precision}, {'training' if training else 'eval'} mode")
                try:
                    found = check_pass(sides, pairing, arranged, precision, training=training)
                    _refuse(sides, found)
                    passes.append(found)
                except SideError as error:
                    if precision == "float32" or len(precisions) == 1:
                        raise
                    notes.append(f"Not compared in float64: {error}")
                parts.advance()
    result = Result(None, pairing, sides, facts, received, lost, list(dict.fromkeys(notes)), weights, passes, {})
    result.first = _first_of_weights(result) or _first_of_forward(result)
    if not any(found.faults for found in passes):
        fault = _gradients(result, arranged, losses, modes[-1])
        result.first = result.first or fault
    return result


def _inputs_as_held(sides: Sides, arranged: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """Each input as both sides hold it, and whether a module overwrites it or answers otherwise when asked again."""
    held = [(hashes(side, native(side, of_side))) for side, of_side in zip(sides, arranged, strict=True)]
    notes = []
    for side, of_side in zip(sides, arranged, strict=True):
        mine = native(side, of_side)
        before = hashes(side, mine)
        once, again = (arrays(side, side.run(*mine)[-1].outputs) for _ in range(2))
        if error_between(once, again) > 0:
            notes.append(f"{side.name}'s module returns other numbers when it is called again with the same inputs.")
        if hashes(side, mine) != before:
            notes.append(f"{side.name}'s module overwrites its inputs.")
    return list(zip(*held, strict=False)), notes


def _refuse(sides: Sides, found: Pass) -> None:
    """UserError for NaN, for outputs that cannot be held side by side, and where Flax failed with no fault before."""
    for side, calls in zip(sides, (found.torch_calls, found.flax_calls), strict=True):
        for call in calls:
            if any(np.isnan(array).any() for array in arrays(side, call.outputs) if array.dtype.kind == "f"):
                where = f"`{call.path}` ({type(side.at(call.path)).__name__})" if call.path else "module"
                raise UserError(f"{side.name}'s {where} returns NaN in {found.name}: nothing can be compared with it")
    if found.failure:
        if not found.faults:
            raise found.failure
        return
    shapes = [
        [array.shape for array in arrays(side, calls[-1].outputs)]
        for side, calls in zip(sides, (found.torch_calls, found.flax_calls), strict=True)
    ]
    root = next(check for check in found.checks if check.torch.path == "")
    unequal = len(shapes[0]) != len(shapes[1]) or (root.accumulated == np.inf and root in found.faults)
    if unequal:
        raise UserError(f"the outputs cannot be compared: PyTorch returns {shapes[0]}, Flax {shapes[1]}")


def _first_of_weights(result: Result) -> Fault | None:
    if not result.weights:
        return None
    first = result.weights[0]
    readings = [f"{len(result.weights)} of its variables differ from PyTorch's; for what follows they were copied"]
    return Fault("weights", first.torch, first.flax, first.error, 0.0, "its values", first.cause, readings)


def _first_of_forward(result: Result) -> Fault | None:
    found = next((each for each in result.passes if each.faults), None)
    if found is None:
        return None
    sides, check = result.sides, found.faults[0]
    for side in sides:
        side.prepare(found.precision, training=found.training)
    readings = [place] if (place := between(found, sides, check)) else []
    clean = [each for each in result.passes if not each.faults]
    if found.precision == "float32" and any(each.precision == "float64" for each in clean):
        readings.append(
            "it differs in float32 alone: rounding, a coarser matrix product such as TF32, or denormal numbers"
        )
    if found.training and any(each.precision == found.precision and not each.training for each in clean):
        readings.append("it differs in training mode alone")
    agree = lambda torch, flax: max(compare_alone(sides, result.pairing, torch, flax, found.grids)) <= check.allowed  # noqa: E731
    readings += _only_beyond(sides, check, agree)
    misled = [each for each in found.checks if not each.fails and each.accumulated > 10 * max(each.allowed, 1e-12)]
    if misled:
        readings.append(f"{len(misled)} modules behind it differ only because of what reaches them")
    what = "its running statistics are" if check.statistics else "its output is"
    cause = likely_cause(sides, result.pairing, found, check)
    return Fault("forward", check.torch.path, check.flax.path, check.alone, check.rounding, what, cause, readings)


def _only_beyond(sides: Sides, check: Check, agree: Callable[[Call, Call], bool]) -> list[str]:
    """Whether the pair agrees alone on the first half, quarter, ... of its batch."""
    inputs = leaves((check.torch.args, check.torch.kwargs))
    total = len(inputs[0]) if inputs and inputs[0].ndim else 0
    if check.fails and check.alone < 100 * check.allowed:
        return []  # as little as that may come and go by itself
    rows = total // 2
    while rows > 1:
        cut = lambda each: each[:rows] if each.ndim and len(each) == total else each  # noqa: B023, E731
        torch, flax = (
            replace(call, args=mapped(call.args, cut), kwargs=mapped(call.kwargs, cut))
            for call in (check.torch, check.flax)
        )
        try:
            torch.outputs, torch.after = sides[0].alone(torch)
            if agree(torch, flax):
                return [f"fed the first {rows} of {total} rows alone it agrees, so its size matters"]
        except Exception:  # a module may need its whole batch
            return []
        rows //= 2
    return []


def _gradients(result: Result, arranged: Any, losses: Losses, training: bool) -> Fault | None:
    """The first difference on the way back, float64 before float32."""
    faults = []
    for found in (each for each in result.passes if each.training == training):
        sides, pairing = result.sides, result.pairing
        for side in sides:
            side.prepare(found.precision, training=training)
        of_loss = check_loss(sides, found, losses)
        parameters = [] if of_loss.fails else check_parameters(sides, pairing, arranged, losses, found.precision)
        result.gradients[found.precision] = parameters
        if of_loss.fails:
            faults.append((found, of_loss, None))
            continue
        off = [check for check in parameters if check.fails]
        units = {pair.torch for pair in pairing.pairs}
        alone = []
        for check in reversed(found.checks):
            if off or (check.torch.path not in units and _is_leaf(found, check)):
                try:
                    alone.append((check_alone(sides, pairing, found, check), check))
                except (TypeError, ValueError, RuntimeError, AttributeError):  # not to be differentiated
                    continue
        failing = [(each, check) for each, check in alone if each.fails]
        paths = {each.torch for each, _ in failing}
        own = [each for each in failing if not any(p != each[0].torch and _is_within(p, each[0].torch) for p in paths)]
        if own:
            faults.append((found, *own[0]))
        elif off and found.precision == "float64":
            faults.append((found, off[0], None))
        elif off:
            result.notes.append(
                f"In float32 {len(off)} parameters' gradients differ by up to {max(c.measured for c in off):.1g}, "
                "but every module's own agrees alone: activations near a kink, as that of ReLU."
            )
    if not faults:
        return None
    found, check, pair = faults[0]
    for side in result.sides:
        side.prepare(found.precision, training=training)
    readings = []
    if pair is not None:

        def again(torch: Call, flax: Call) -> bool:
            return not check_alone(result.sides, result.pairing, found, replace(pair, torch=torch, flax=flax)).fails

        readings += _only_beyond(result.sides, pair, again)
    if found.precision == "float32" and "float64" in result.gradients:
        readings.append("it differs in float32 alone")
    return Fault(
        "gradients", check.torch, check.flax, check.measured, check.rounding, f"{check.what} is", None, readings
    )


def _is_within(path: str, outer: str) -> bool:
    return outer == "" or path.startswith(f"{outer}.")


def _is_leaf(found: Pass, check: Check) -> bool:
    return not any(
        o is not check and _is_within(o.torch.path, check.torch.path) and o.torch.path != check.torch.path
        for o in found.checks
    )
