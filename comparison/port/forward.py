"""One forward pass of both sides in one precision and mode, and each pair once more alone on equal inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from comparison.port.arrays import Grid, distance, error_between, is_float, leaves, mapped, nearest
from comparison.port.pairing import Pairing, is_below
from comparison.port.side import Call, Change, SideError

Inputs = tuple[Any, Any]  # PyTorch's and Flax's arguments, positional and by keyword
NUM_NUDGES, NOISE_FACTOR = 3, 4.0
# Bounds on what rounding may excuse: as much as the ladder allows a layer in any case, and never more than MOST.
LEAST = {"float64": 1e-12, "float32": 1e-5}
MOST = {"float64": 1e-6, "float32": 1e-2}


class LastBits(NamedTuple):
    """Moves every number but 0 up or down by its last bit, seeded; whole numbers stay."""

    number: int

    def __call__(self, array: np.ndarray) -> np.ndarray:
        if not is_float(array):
            return array
        up = np.random.default_rng((self.number, array.size)).random(array.shape) < 0.5
        moved = np.nextafter(array, np.where(up, np.inf, -np.inf).astype(array.dtype))
        return np.where(array == 0, array, moved).astype(array.dtype)


NUDGES = [LastBits(number) for number in range(NUM_NUDGES)]


@dataclass
class Check:
    """One call of one pair in one pass: how far Flax's results are, in the whole model and fed the same inputs."""

    torch: Call
    flax: Call
    accumulated: float
    alone: float
    rounding: float  # what last bits do to PyTorch's module alone, or to Flax's where only that excuses it
    allowed: float
    statistics: bool = False  # the running statistics are off, the outputs are not
    why: str = ""  # what kept Flax's module from being fed what PyTorch's was, or its outputs from being compared

    @property
    def fails(self) -> bool:
        return not self.alone <= self.allowed


@dataclass
class Pass:
    """All calls of one precision and mode."""

    pairing: Pairing
    precision: str
    training: bool
    torch_calls: list[Call]
    flax_calls: list[Call]
    grids: list[Grid]
    failure: SideError | None = None  # Flax did not get to the end
    checks: list[Check] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.precision}, {'training' if self.training else 'eval'} mode"

    @property
    def faults(self) -> list[Check]:
        """The calls that differ alone while nothing within them does, in the order in which they end."""
        failing = [check for check in self.checks if check.fails]
        return [check for check in failing if not any(is_below(o.torch.path, check.torch.path) for o in failing)]

    def paired(self) -> Iterator[tuple[Call, Call]]:
        """Every call of PyTorch's that has one of Flax's."""
        theirs = {(call.path, call.index): call for call in self.flax_calls}
        for call in self.torch_calls:
            if (other := theirs.get((self.pairing.modules.get(call.path, "-"), call.index))) is not None:
                yield call, other


def run_both(pairing: Pairing, inputs: Inputs, precision: str, *, training: bool) -> Pass:
    """Both traces, before anything is compared."""
    sides, failure = pairing.sides, None
    for side in sides:
        side.prepare(precision, training=training)
    torch_calls = sides[0].run(*native(sides[0], inputs[0]))
    try:
        flax_calls = sides[1].run(*native(sides[1], inputs[1]))
    except SideError as error:
        failure, flax_calls = error, error.calls
    every = [leaf for call in torch_calls for leaf in leaves((call.args, call.outputs))]
    images = dict.fromkeys(tuple(leaf.shape[1:]) for leaf in every if leaf.ndim > 3 and leaf.shape[1] > 1)
    flat = {leaf.shape[-1] for leaf in every if leaf.ndim == 2}
    grids = [shape for shape in images if np.prod(shape) in flat and np.prod(shape[1:]) > 1]
    return Pass(pairing, precision, training, torch_calls, flax_calls, grids, failure)


def check_pass(pairing: Pairing, inputs: Inputs, precision: str, *, training: bool) -> Pass:
    """Every paired call, accumulated and alone."""
    found = run_both(pairing, inputs, precision, training=training)
    for torch_call, flax_call in found.paired():
        found.checks.append(_check(found, torch_call, flax_call))
    return found


def native(side: Any, inputs: Any) -> Any:
    """Positional and keyword inputs as a side's own arrays; a single truth value or number as Python's."""
    return mapped(inputs, lambda each: each.item() if each.ndim == 0 else side.native(each))


def fed(pairing: Pairing, torch_call: Call, flax_call: Call, grids: list[Grid]) -> Call:
    """Flax's call with PyTorch's inputs and running statistics: each array is replaced by the one that lies nearest.

    Masks and positions, which are no floating point numbers, stay each side's own.
    """
    torch_side, flax_side = pairing.sides
    references = torch_side.arrays((torch_call.args, torch_call.kwargs))

    def replaced(leaf: Any) -> Any:
        own = flax_side.array(leaf)
        match = nearest(own, references, grids) if is_float(own) else None
        return leaf if match is None else flax_side.native(match.layout(references[match.place])).astype(leaf.dtype)

    args, kwargs = mapped((flax_call.args, flax_call.kwargs), replaced)
    before = statistics(pairing, torch_call.path, torch_call.before)
    before = {name: flax_side.native(array) for name, array in before.items() if name in flax_call.before}
    return replace(flax_call, args=args, kwargs=kwargs, before=flax_call.before | before)


def compare_alone(
    found: Pass, torch_call: Call, flax_call: Call, given: Any = None, change: Change | None = None
) -> tuple[float, float]:
    """The errors of outputs and of running statistics, the Flax module run with PyTorch's inputs."""
    outputs, after = given or (torch_call.outputs, torch_call.after)
    started = fed(found.pairing, torch_call, flax_call, found.grids)
    measured, measured_after = found.pairing.sides[1].alone(started, change)
    of_outputs = outputs_error(found.pairing, torch_call, measured, found.grids, outputs)
    return of_outputs, _statistics_error(found.pairing, torch_call.path, after, measured_after)


def outputs_error(pairing: Pairing, torch_call: Call, measured: Any, grids: list[Grid], outputs: Any = None) -> float:
    """How far all that a module returns is; recurrent ones return outputs and states in another order in Flax."""
    in_order = not isinstance(pairing.sides[0].at(torch_call.path), nn.RNNBase | nn.RNNCellBase)
    wanted = pairing.sides[0].arrays(torch_call.outputs if outputs is None else outputs)
    return error_between(pairing.sides[1].arrays(measured), wanted, grids, in_order=in_order)


def statistics(pairing: Pairing, path: str, tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    """PyTorch's running statistics under Flax's names."""
    return pairing.in_flax(path, {name: pairing.sides[0].array(tensor) for name, tensor in tensors.items()})


def moved_by_rounding(side: Any, call: Call) -> float:
    """What moved last bits of inputs and weights do to the outputs and running statistics of a module alone."""
    reference = side.arrays(side.alone(call))
    moved = (side.arrays(side.alone(call, nudge=nudge)) for nudge in NUDGES)
    return max((distance(a, b) for each in moved for a, b in zip(each, reference, strict=True)), default=0.0)


def allowed(rounding: float, precision: str) -> float:
    """What a measured effect of rounding excuses."""
    return min(max(LEAST[precision], NOISE_FACTOR * rounding), MOST[precision])


def received(found: Pass, check: Check) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """What reached Flax's module, what reached PyTorch's in Flax's layout, and how far they are apart."""
    torch_side, flax_side = found.pairing.sides
    references = torch_side.arrays((check.torch.args, check.torch.kwargs))
    arrays = [array for array in flax_side.arrays((check.flax.args, check.flax.kwargs)) if is_float(array)]
    matches = [(array, nearest(array, references, found.grids)) for array in arrays]
    return [(array, m.layout(references[m.place]), m.error) for array, m in matches if m]


def _check(found: Pass, torch_call: Call, flax_call: Call) -> Check:
    pairing = found.pairing
    accumulated = outputs_error(pairing, torch_call, flax_call.outputs, found.grids)
    rounding, off, why = moved_by_rounding(pairing.sides[0], torch_call), 0.0, ""
    of_torch = rounding
    try:
        outputs, off = compare_alone(found, torch_call, flax_call)
        if max(outputs, off) > allowed(rounding, found.precision):  # Flax may sum in an order that rounds more
            started = fed(pairing, torch_call, flax_call, found.grids)
            rounding = max(rounding, moved_by_rounding(pairing.sides[1], started))
        if np.isinf(outputs):
            both = zip(pairing.sides, (torch_call, flax_call), strict=True)
            shapes = [", ".join(str(a.shape) for a in side.arrays(call.outputs)[:3]) for side, call in both]
            why = f"PyTorch's returns {shapes[0]} and Flax's {shapes[1]}"
    except Exception as error:
        outputs, why = np.inf, f"fed what PyTorch's module was fed, Flax's fails ({error})"
    if torch_call.path == "":  # what all its norms are left with
        of_norms = [check for check in found.checks if check.torch.after]
        left = [_statistics_error(pairing, c.torch.path, c.torch.after, c.flax.after) for c in of_norms]
        off, rounding = max([off, *left]), max([rounding, *(check.rounding for check in of_norms)])
    tolerance = allowed(rounding, found.precision)
    alone = outputs if outputs > tolerance else max(outputs, off)
    if not alone <= tolerance:  # what Flax's own module does to itself explains nothing then
        rounding = of_torch
    return Check(torch_call, flax_call, accumulated, alone, rounding, tolerance, outputs <= tolerance < off, why)


def _statistics_error(pairing: Pairing, path: str, after: dict[str, Any], measured: dict[str, Any]) -> float:
    expected = statistics(pairing, path, after)
    pairs = [(pairing.sides[1].array(measured[name]), expected[name]) for name in expected if name in measured]
    return max((distance(*pair) for pair in pairs), default=0.0)
