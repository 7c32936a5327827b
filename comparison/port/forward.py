"""One forward pass of both sides in one precision and mode, and each pair once more alone on equal inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from comparison.port.arrays import Call, Grid, distance, error_between, is_float, leaves, mapped, nearest
from comparison.port.failure import SideError
from comparison.port.flax_side import FlaxSide
from comparison.port.pairing import Pairing, flattened_grids
from comparison.port.torch_side import TorchSide

Sides = tuple[TorchSide, FlaxSide]
NUM_NUDGES, NOISE_FACTOR = 3, 4.0
# Bounds on what rounding may excuse: as much as the ladder allows a layer in any case, and never more than MOST.
LEAST = {"float64": 1e-12, "float32": 1e-5}
MOST = {"float64": 1e-6, "float32": 1e-2}


class Nudge(NamedTuple):
    """Moves every number but 0 up or down by its last bit, seeded; whole numbers stay."""

    number: int

    def __call__(self, array: np.ndarray) -> np.ndarray:
        if not is_float(array):
            return array
        up = np.random.default_rng((self.number, array.size)).random(array.shape) < 0.5
        moved = np.nextafter(array, np.where(up, np.inf, -np.inf).astype(array.dtype))
        return np.where(array == 0, array, moved).astype(array.dtype)


NUDGES = [Nudge(number) for number in range(NUM_NUDGES)]


@dataclass
class Check:
    """One call of one pair in one pass: how far Flax's results are, in the whole model and fed the same inputs."""

    torch: Call
    flax: Call
    accumulated: float
    alone: float
    rounding: float  # what last bits do to PyTorch's module alone
    allowed: float
    statistics: bool  # the running statistics are off, the outputs are not
    why: str = ""  # Flax's module refused what PyTorch's was fed

    @property
    def fails(self) -> bool:
        return not self.alone <= self.allowed


@dataclass
class Pass:
    """All calls of one precision and mode."""

    precision: str
    training: bool
    torch_calls: list[Call]
    flax_calls: list[Call]
    grids: list[Grid]
    checks: list[Check] = field(default_factory=list)
    failure: SideError | None = None  # Flax did not get to the end

    @property
    def name(self) -> str:
        return f"{self.precision}, {'training' if self.training else 'eval'} mode"

    @property
    def faults(self) -> list[Check]:
        """The calls that differ alone while nothing within them does, in the order in which they end."""
        failing = [check for check in self.checks if check.fails]
        return [check for check in failing if not any(_is_below(other, check) for other in failing)]


def run_both(sides: Sides, inputs: tuple[Any, Any], precision: str, *, training: bool) -> Pass:
    """Both traces, before anything is compared."""
    for side in sides:
        side.prepare(precision, training=training)
    torch_calls = sides[0].run(*inputs[0])
    failure, flax_calls = None, []
    try:
        flax_calls = sides[1].run(*native(sides[1], inputs[1]))
    except SideError as error:
        failure, flax_calls = error, error.calls
    sizes = {leaf.shape[-1] for call in torch_calls for leaf in leaves((call.args, call.outputs)) if leaf.ndim == 2}
    grids = dict.fromkeys(grid for size in sizes for grid in flattened_grids(torch_calls, size))
    return Pass(precision, training, torch_calls, flax_calls, list(grids), failure=failure)


def check_pass(sides: Sides, pairing: Pairing, inputs: tuple[Any, Any], precision: str, *, training: bool) -> Pass:
    """Every paired call, accumulated and alone."""
    found = run_both(sides, inputs, precision, training=training)
    theirs = {(call.path, call.index): call for call in found.flax_calls}
    for call in found.torch_calls:
        flax_call = theirs.get((pairing.modules.get(call.path, "-"), call.index))
        if flax_call is not None:
            found.checks.append(_check(sides, pairing, found, call, flax_call))
    return found


def native(side: Any, inputs: Any) -> Any:
    """Positional and keyword inputs as a side's own arrays; a single truth value or number as Python's."""
    return mapped(inputs, lambda each: each.item() if each.ndim == 0 else side.native(each))


def arrays(side: Any, thing: Any) -> list[np.ndarray]:
    """Every array of nested outputs, as NumPy."""
    return [side.array(leaf) for leaf in leaves(thing)]


def fed(sides: Sides, torch_call: Call, flax_call: Call, grids: list[Grid]) -> tuple[Any, Any]:
    """Flax's arguments with PyTorch's values in them: each array is replaced by the one that lies nearest.

    Masks and positions, which are no floating point numbers, stay each side's own.
    """
    references = arrays(sides[0], (torch_call.args, torch_call.kwargs))

    def replaced(leaf: Any) -> Any:
        own = sides[1].array(leaf)
        match = nearest(own, references, grids) if is_float(own) else None
        return leaf if match is None else sides[1].native(match.layout(references[match.place])).astype(leaf.dtype)

    return mapped((flax_call.args, flax_call.kwargs), replaced)


def compare_alone(
    sides: Sides,
    pairing: Pairing,
    torch_call: Call,
    flax_call: Call,
    grids: list[Grid],
    given: Any = None,
    **changes: Any,
) -> tuple[float, float]:
    """The errors of outputs and of running statistics, the Flax module run with PyTorch's inputs."""
    outputs, after = given or (torch_call.outputs, torch_call.after)
    started, args, kwargs = _started(sides, pairing, torch_call, flax_call, grids)
    measured, measured_after = sides[1].alone(started, args=args, kwargs=kwargs, **changes)
    of_outputs = outputs_error(sides, torch_call.path, outputs, measured, grids)
    expected = _statistics(sides, pairing, torch_call.path, after)
    moved = {name: sides[1].array(measured_after[name]) for name in expected if name in measured_after}
    return of_outputs, max((distance(moved[name], expected[name]) for name in moved), default=0.0)


def _started(
    sides: Sides, pairing: Pairing, torch_call: Call, flax_call: Call, grids: list[Grid]
) -> tuple[Call, Any, Any]:
    before = _statistics(sides, pairing, torch_call.path, torch_call.before)
    started = replace(flax_call, before={**flax_call.before, **{k: sides[1].native(v) for k, v in before.items()}})
    return started, *fed(sides, torch_call, flax_call, grids)


def outputs_error(sides: Sides, path: str, outputs: Any, measured: Any, grids: list[Grid]) -> float:
    """How far all that a module returns is; recurrent ones return outputs and states in another order in Flax."""
    in_order = not isinstance(sides[0].at(path), nn.RNNBase | nn.RNNCellBase)
    return error_between(arrays(sides[1], measured), arrays(sides[0], outputs), grids, in_order=in_order)


def nudged_alone(sides: Sides, call: Call) -> float:
    """What moved last bits do to the outputs and running statistics of PyTorch's module alone."""
    reference = arrays(sides[0], (call.outputs, call.after))
    worst = 0.0
    for nudge in NUDGES:
        moved = arrays(sides[0], sides[0].alone(call, nudge=nudge))
        worst = max([worst, *(distance(a, b) for a, b in zip(moved, reference, strict=True))])
    return worst


def nudged_flax(sides: Sides, pairing: Pairing, torch_call: Call, flax_call: Call, grids: list[Grid]) -> float:
    """What moved last bits of its inputs do to Flax's module alone, which may sum in an order that rounds more."""
    started, args, kwargs = _started(sides, pairing, torch_call, flax_call, grids)
    reference = arrays(sides[1], sides[1].alone(started, args=args, kwargs=kwargs))
    worst = 0.0
    for nudge in NUDGES:
        moved = mapped((args, kwargs), lambda each, nudge=nudge: sides[1].native(nudge(sides[1].array(each))))
        results = arrays(sides[1], sides[1].alone(started, args=moved[0], kwargs=moved[1]))
        worst = max([worst, *(distance(a, b) for a, b in zip(results, reference, strict=True))])
    return worst


def allowed(rounding: float, precision: str) -> float:
    """What a measured effect of rounding excuses."""
    return min(max(LEAST[precision], NOISE_FACTOR * rounding), MOST[precision])


def inputs_error(sides: Sides, check: Check, grids: list[Grid]) -> float:
    """How far what reached Flax's module is from what reached PyTorch's."""
    references = arrays(sides[0], (check.torch.args, check.torch.kwargs))
    floats = [array for array in arrays(sides[1], (check.flax.args, check.flax.kwargs)) if is_float(array)]
    found = [nearest(array, references, grids) for array in floats]
    return max((match.error for match in found if match), default=0.0)


def _check(sides: Sides, pairing: Pairing, found: Pass, call: Call, flax_call: Call) -> Check:
    accumulated = outputs_error(sides, call.path, call.outputs, flax_call.outputs, found.grids)
    rounding = nudged_alone(sides, call)
    try:
        outputs, statistics = compare_alone(sides, pairing, call, flax_call, found.grids)
        why = ""
        if max(outputs, statistics) > allowed(rounding, found.precision):
            rounding = max(rounding, nudged_flax(sides, pairing, call, flax_call, found.grids))
    except SideError as error:
        outputs, statistics, why = np.inf, 0.0, str(error)
    if call.path == "":  # what all its norms are left with
        of_norms = [c for c in found.checks if c.torch.after]
        statistics = max([statistics, *(_left_behind(sides, pairing, c) for c in of_norms)])
        rounding = max([rounding, *(c.rounding for c in of_norms)])
    tolerance = allowed(rounding, found.precision)
    off = outputs <= tolerance < statistics
    alone = outputs if outputs > tolerance else max(outputs, statistics)
    return Check(call, flax_call, accumulated, alone, rounding, tolerance, off, why)


def _statistics(sides: Sides, pairing: Pairing, path: str, tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    pair = next((pair for pair in pairing.pairs if pair.torch == path), None)
    if pair is None or not tensors:
        return {}
    return pairing.weights_of(pair, sides, {name: sides[0].array(tensor) for name, tensor in tensors.items()})


def _left_behind(sides: Sides, pairing: Pairing, check: Check) -> float:
    expected = _statistics(sides, pairing, check.torch.path, check.torch.after)
    measured = {name: sides[1].array(value) for name, value in check.flax.after.items()}
    return max((distance(measured[name], expected[name]) for name in expected if name in measured), default=0.0)


def _is_below(other: Check, check: Check) -> bool:
    return (
        other is not check
        and other.torch.path != check.torch.path
        and (check.torch.path == "" or other.torch.path.startswith(f"{check.torch.path}."))
    )


def between(found: Pass, sides: Sides, fault: Check) -> str:
    """Where within a module at fault it begins: before which of its paired children, or behind the last."""
    inner = list(_outermost([check for check in found.checks if _is_below(check, fault)]))
    if not inner:
        return ""
    for check in inner:
        if not inputs_error(sides, check, found.grids) <= max(check.allowed, 1e-3 * min(fault.alone, 1.0)):
            first = ": that is before the first layer" if check is inner[0] and fault.torch.path == "" else ""
            return f"what reaches `{check.torch.path}` differs already{first}"
    return "all that its modules return agrees, so it is what is done between or behind them"


def _outermost(checks: list[Check]) -> Iterator[Check]:
    paths = [check.torch.path for check in checks]
    return (c for c in checks if not any(c.torch.path.startswith(f"{path}.") for path in paths))
