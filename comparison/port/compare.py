"""Why two modules differ, asked in the order in which a careful person would ask.

Long, since each question is asked with what those before it have found.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

from common.errors import UserError
from common.stages import stage
from comparison.port.arrays import error_between, leaves, likeness, mapped
from comparison.port.causes import likely_cause
from comparison.port.conditions import Fact, conditions, hashes
from comparison.port.flax_side import FlaxSide
from comparison.port.forward import (
    Check,
    Inputs,
    Pass,
    check_pass,
    compare_alone,
    native,
    received,
    run_both,
)
from comparison.port.gradients import Losses, again, check_loss, send_back, sum_of_squares, with_zeros
from comparison.port.load import Map, arrange, draw_inputs
from comparison.port.pairing import Pairing, Sides, is_below, pair_modules
from comparison.port.side import Call, Finding, SideError
from comparison.port.torch_side import TorchSide
from comparison.port.weights import copy_weights, weight_faults

PRECISIONS = ("float64", "float32")


@dataclass
class Result:
    """Everything that was found; `first` is None if the two agree."""

    pairing: Pairing
    facts: list[Fact]
    inputs: list[tuple[str, str]]  # each input as PyTorch and as Flax hold it
    lost: list[str]
    notes: list[str]
    weights: list[Finding]
    passes: list[Pass] = field(default_factory=list)
    gradients: dict[str, list[Finding]] = field(default_factory=dict)  # by precision, the last parameter first
    first: Finding | None = None


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
    sides = TorchSide(torch_module), FlaxSide(flax_module)
    with _settings_restored():
        result, arranged = _begin(sides, inputs, by_hand or Map())
        modes = (False, True) if all(side.training for side in sides) else (False,)
        with stage("comparing modules", len(precisions) * len(modes)) as parts:
            for precision in precisions:
                for training in modes:
                    parts.begin(f"{precision}, {'training' if training else 'eval'} mode")
                    try:
                        found = check_pass(result.pairing, arranged, precision, training=training)
                        _refuse(found)
                        result.passes.append(found)
                    except SideError as error:
                        if precision == precisions[-1]:
                            raise
                        result.notes.append(f"Not compared in {precision}: {error}")
                    parts.advance()
        result.first = next(iter(result.weights), None) or _first_of_forward(result)
        if not any(found.faults for found in result.passes):
            faults = [
                fault
                for found in result.passes
                if found.training == modes[-1]
                for fault in _back(result, found, losses)
            ]
            result.first = result.first or next(iter(faults), None)
    return result


@contextmanager
def _settings_restored() -> Iterator[None]:
    was = jax.config.read("jax_enable_x64"), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused encoder layer calls none of its modules
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", was[0])
        torch.backends.mha.set_fastpath_enabled(was[1])


def _begin(sides: Sides, inputs: Any, by_hand: Map) -> tuple[Result, Inputs]:
    """All that comes before the first layer; and the inputs as each side takes them."""
    facts = conditions(sides)
    notes = [] if inputs is not None else ["No inputs were given: numbers were drawn."]
    modules = sides[0].module, sides[1].original
    inputs = draw_inputs(modules[0]) if inputs is None else inputs
    unpaired = Pairing(sides)
    arranged = arrange(inputs, modules, by_hand.inputs)
    found = run_both(unpaired, arranged, "float32", training=False)
    if found.failure:
        as_they_are = arrange(inputs, modules, by_hand.inputs, turn=False)
        other = run_both(unpaired, as_they_are, "float32", training=False)
        arranged, found = (arranged, found) if other.failure else (as_they_are, other)
    if found.failure and not found.flax_calls:
        raise found.failure
    held = [native(side, of_side) for side, of_side in zip(sides, arranged, strict=True)]
    told = [hashes(side, each) for side, each in zip(sides, held, strict=True)]
    for side, mine, before, of_side in zip(sides, held, told, arranged, strict=True):
        try:
            once, twice = (side.arrays(side.run(*each)[-1].outputs) for each in (mine, native(side, of_side)))
        except SideError:  # told of later, unless a fault before it explains it
            continue
        if error_between(once, twice) > 0:
            notes.append(f"{side.name}'s module returns other numbers when it is called again with the same inputs.")
        if hashes(side, mine) != before:
            notes.append(f"{side.name}'s module overwrites its inputs.")
    given = sides[1].tensors()
    pairing = pair_modules(sides, (found.torch_calls, found.flax_calls), by_hand.modules)
    lost = copy_weights(pairing, arranged)
    if sides[0].training != sides[1].training:
        side = next(side for side in sides if side.training)
        notes.append(f"Only {side.name}'s module is in training mode: compared in eval mode.")
    result = Result(pairing, facts, list(zip(*told, strict=False)), lost, notes, weight_faults(pairing, given))
    return result, arranged


def _refuse(found: Pass) -> None:
    """UserError for NaN, for outputs that cannot be held side by side, and where Flax failed with no fault before."""
    sides, calls = found.pairing.sides, (found.torch_calls, found.flax_calls)
    for side, of_side in zip(sides, calls, strict=True):
        for call in of_side:
            if any(np.isnan(array).any() for array in side.arrays(call.outputs) if array.dtype.kind == "f"):
                raise UserError(f"{side.said(call.path)} returns NaN in {found.name}: nothing can be compared with it")
    if found.failure and not found.faults:
        raise found.failure
    if not found.failure:
        shapes = [[a.shape for a in side.arrays(c[-1].outputs)] for side, c in zip(sides, calls, strict=True)]
        whole = found.checks[-1]
        if len(shapes[0]) != len(shapes[1]) or (whole.accumulated == np.inf and whole in found.faults):
            raise UserError(f"the outputs cannot be compared: PyTorch returns {shapes[0]}, Flax {shapes[1]}")


def _first_of_forward(result: Result) -> Finding | None:
    found = next((each for each in result.passes if each.faults), None)
    if found is None:
        return None
    check = found.faults[0]
    for side in found.pairing.sides:
        side.prepare(found.precision, training=found.training)
    what = "its running statistics are" if check.statistics else "its output is"
    fault = Finding("forward", check.torch.path, check.flax.path, check.alone, check.rounding, what, None)
    fault.likely_cause = likely_cause(found, check)
    fault.readings = [check.why] if check.why else []
    _look_within(found, check, fault)
    clean = [each for each in result.passes if not each.faults]
    if found.precision == "float32" and any(each.precision == "float64" for each in clean):
        fault.readings.append(
            "it differs in float32 alone: rounding, a coarser matrix product such as TF32, or denormal numbers"
        )
    if found.training and any(each.precision == found.precision and not each.training for each in clean):
        fault.readings.append("it differs in training mode alone")
    if not check.fails or check.alone >= 100 * check.allowed:  # as little as less may come and go by itself
        fault.readings += _only_beyond(
            found, check, lambda torch, flax: max(compare_alone(found, torch, flax)) <= check.allowed
        )
    misled = [each for each in found.checks if not each.fails and each.accumulated > 10 * max(each.allowed, 1e-12)]
    if misled:
        fault.readings.append(f"{len(misled)} modules behind it differ only because of what reaches them")
    return fault


def _look_within(found: Pass, check: Check, fault: Finding) -> None:
    """Where within a module at fault it begins: before which of its paired children, or behind the last."""
    below = [each for each in found.checks if is_below(each.torch.path, check.torch.path)]
    inner = [each for each in below if not any(is_below(each.torch.path, other.torch.path) for other in below)]
    for each in inner:
        for measured, wanted, error in received(found, each):
            if not error <= max(each.allowed, 1e-3 * min(check.alone, 1.0)):
                reading = f"what reaches `{each.torch.path}` differs already"
                fault.likely_cause = fault.likely_cause or likeness(measured, wanted, each.allowed)
                if each is inner[0] and check.torch.path == "":
                    reading += ": that is before the first layer"
                    fault.stage, fault.measured, fault.what = "inputs", error, f"what reaches `{each.torch.path}` is"
                fault.readings.append(reading)
                return
    if inner:
        fault.readings.append("all that its modules return agrees, so it is what is done between or behind them")


def _only_beyond(found: Pass, check: Check, agree: Callable[[Call, Call], bool]) -> list[str]:
    """Whether the pair agrees alone on the first half, quarter, ... of its batch."""
    inputs = leaves((check.torch.args, check.torch.kwargs))
    total = len(inputs[0]) if inputs and inputs[0].ndim else 0
    rows = total // 2
    while rows > 1:

        def cut(call: Call, rows: int = rows) -> Call:
            first = lambda each: each[:rows] if each.ndim and len(each) == total else each  # noqa: E731
            return replace(call, args=mapped(call.args, first), kwargs=mapped(call.kwargs, first))

        try:
            if agree(again(found, cut(check.torch)), cut(check.flax)):
                return [f"fed the first {rows} of {total} rows alone it agrees, so its size matters"]
        except Exception:  # a module may need its whole batch
            return []
        rows //= 2
    return []


def _back(result: Result, found: Pass, losses: Losses) -> Iterator[Finding]:
    """What differs on the way back in one pass: the loss, or the first module in which it does alone."""
    for side in found.pairing.sides:
        side.prepare(found.precision, training=found.training)
    of_loss, cotangents = check_loss(found, losses)
    if of_loss.fails:
        yield of_loss
        return
    parameters = [c for c in send_back(found, found.checks[-1], cotangents) if not c.flax.startswith("input ")]
    result.gradients[found.precision] = parameters
    off = [check for check in parameters if check.fails]
    failing: dict[str, tuple[Check, Finding]] = {}
    for check in reversed(found.checks):
        path = check.torch.path
        leaf = not any(is_below(other.torch.path, path) for other in found.checks)
        if off or (leaf and path not in found.pairing.pairs):
            fed = check if path in found.pairing.pairs else with_zeros(found, check)
            if worst := _worst(found, fed):
                if fed is not check and leaf and not _worst(found, check):
                    worst.likely_cause = "it differs only where an input is 0, as on the kink of ReLU"
                failing.setdefault(path, (fed, worst))
    own = [path for path in failing if not any(is_below(other, path) for other in failing)]
    if own:
        fed, worst = failing[own[0]]
        fault = worst
        fault.readings += _only_beyond(found, fed, lambda t, f: not _worst(found, replace(fed, torch=t, flax=f)))
    elif off and found.precision == "float64":
        fault = off[0]
    else:
        if off:
            most = max(check.measured for check in off)
            result.notes.append(
                f"In float32 {len(off)} parameters' gradients differ by up to {most:.1g}, "
                "but every module's own agrees alone: activations near a kink, as that of ReLU."
            )
        return
    if found.precision == "float32" and "float64" in result.gradients:
        fault.readings.append("it differs in float32 alone")
    yield fault


def _worst(found: Pass, check: Check) -> Finding | None:
    """The gradient that is furthest off of those that a module sends back alone; none if all agree."""
    try:
        checks = send_back(found, check)
    except (TypeError, ValueError, RuntimeError, AttributeError):  # not to be differentiated
        return None
    allowed = max((each.allowed for each in checks), default=0.0)
    worst = max(checks, key=lambda each: each.measured, default=None)
    return worst if worst and not worst.measured <= allowed else None
