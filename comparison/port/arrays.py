"""Arrays of two frameworks side by side: nested arguments, layouts brought to one, and how far apart they are."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from comparison.parity.divergence import max_relative

Grid = tuple[int, ...]  # channels, rows and columns that were flattened into one axis
Layout = Callable[[np.ndarray], np.ndarray]
MAX_SLICES = 512  # along one axis, to be looked for in another order


class Match(NamedTuple):
    """The reference that lies nearest to something measured, and the layout in which it does."""

    place: int
    layout: Layout
    error: float
    alone: bool  # no other reference is as near


def mapped(thing: Any, function: Callable[[Any], Any]) -> Any:
    """The same nested tuples, lists and dicts with `function` of every array in them."""
    if hasattr(thing, "shape") and hasattr(thing, "dtype"):
        return function(thing)
    if isinstance(thing, list | tuple):
        parts = [mapped(each, function) for each in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    if isinstance(thing, Mapping):
        return {key: mapped(each, function) for key, each in sorted(thing.items(), key=lambda item: str(item[0]))}
    return thing


def leaves(thing: Any) -> list[Any]:
    """Every array in nested tuples, lists and dicts, in order; one that is in it twice counts once."""
    found: dict[int, Any] = {}
    mapped(thing, lambda each: found.setdefault(id(each), each))
    return list(found.values())


def replaced(thing: Any, others: Iterable[Any]) -> Any:
    """The same nested tuples, lists and dicts with others in place of their `leaves`."""
    by_id = dict(zip(map(id, leaves(thing)), others, strict=True))
    return mapped(thing, lambda each: by_id[id(each)])


def is_float(array: np.ndarray) -> bool:
    """Whether rounding can touch it."""
    return np.issubdtype(array.dtype, np.floating)


def distance(measured: np.ndarray, reference: np.ndarray, at_least: float = 0.0) -> float:
    """Largest |a - b| over largest |b|, or over `at_least`; equal infinities agree, a NaN is infinitely far."""
    if measured.shape != reference.shape:
        return math.inf
    same = np.isinf(reference) & (measured == reference)
    if same.any():
        measured, reference = np.where(same, 0, measured), np.where(same, 0, reference)
    error, size = max_relative(measured, reference), float(np.abs(reference).max(initial=0))
    return error * (size or 1.0) / at_least if at_least > size else error


def channels_last(array: np.ndarray, grid: Grid, axis: int = -1) -> np.ndarray:
    """The flattened axis in Flax's order: channels, rows, columns becomes rows, columns, channels."""
    axis %= array.ndim
    opened = array.reshape(*array.shape[:axis], *grid, *array.shape[axis + 1 :])
    return np.moveaxis(opened, axis, axis + len(grid) - 1).reshape(array.shape)


def nearest(measured: np.ndarray, references: list[np.ndarray], grids: Iterable[Grid] = ()) -> Match | None:
    """The reference nearest to what was measured, in its best layout; axes of length 1 may come and go."""
    found = []
    for place, reference in enumerate(references):
        if is_float(reference) == is_float(measured) and reference.size == measured.size:
            of_one = [
                Match(place, _shaped(layout, measured.shape), distance(measured, laid.reshape(measured.shape)), True)
                for layout in _layouts(reference.shape, grids)
                if _long(laid := layout(reference)) == _long(measured)
            ]
            found += [min(of_one, key=lambda match: match.error)] if of_one else []
    best = min(found, key=lambda match: match.error, default=None)
    return best and best._replace(alone=sum(match.error == best.error for match in found) == 1)


def error_between(
    measured: list[np.ndarray], references: list[np.ndarray], grids: Iterable[Grid] = (), *, in_order: bool = True
) -> float:
    """The largest error of several arrays: in order, or, where one side has more, of those that have a counterpart."""

    def error(a: np.ndarray, b: np.ndarray) -> float:
        return match.error if (match := nearest(a, [b], grids)) else math.inf

    if in_order and len(measured) == len(references):
        return max(map(error, measured, references), default=0.0)
    if len(measured) > len(references):
        return max((min(error(a, b) for a in measured) for b in references), default=0.0)
    return max((min(error(a, b) for b in references) for a in measured), default=0.0)


def likeness(measured: np.ndarray, wanted: np.ndarray, allowed: float) -> str | None:
    """What makes PyTorch's array of Flax's: another order of axes or slices, a factor, a shift; or None."""
    if measured.size < 2 or measured.size != wanted.size or not np.isfinite(measured).all() or np.ptp(wanted) == 0:
        return None
    for order in itertools.permutations(range(measured.ndim)) if measured.ndim < 6 else ():
        turned = measured.transpose(order)
        if order != tuple(range(measured.ndim)) and distance(turned, wanted) <= allowed:
            return f"its axes are in another order: {order} of it agrees"
    if measured.shape != wanted.shape:
        return None
    axes = range(measured.ndim)
    for some in itertools.chain.from_iterable(itertools.combinations(axes, n) for n in (1, 2, 3)):
        if distance(np.flip(measured, some), wanted) <= allowed:
            return f"it is reversed along axis {' and '.join(map(str, some))}"
    for axis in axes:
        if 1 < measured.shape[axis] <= MAX_SLICES:
            a, b = (np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (measured, wanted))
            a, b = (each[np.lexsort(each.round(4).T[:8])] for each in (a, b))
            if distance(a, b) <= allowed:
                return f"it holds the same along axis {axis} in another order"
    flat, goal = measured.ravel().astype(np.float64), wanted.ravel().astype(np.float64)
    allowed *= 10
    if np.ptp(flat) > 0:
        factor, shift = np.polyfit(flat, goal, 1)
        if flat.size > 2 and distance(factor * flat + shift, goal) <= allowed and abs(factor - 1) > 1e-8:
            negligible = abs(shift) <= allowed * np.abs(goal).max()
            return f"PyTorch's is {factor:.9g} times Flax's" + ("" if negligible else f" plus {shift:.6g}")
    gap = (goal - flat).reshape(measured.shape)
    if gap.ndim > 1 and len(gap) > 1 and np.ptp(gap, tuple(axes)[:-1]).max() <= allowed * np.abs(goal).max():
        return "the two differ by one number per channel, as with another bias"
    return None


def _layouts(shape: tuple[int, ...], grids: Iterable[Grid]) -> Iterator[Layout]:
    """The orders in which Flax may hold PyTorch's array."""
    yield lambda array: array
    if len(shape) > 2:
        yield lambda array: np.moveaxis(array, 1, -1)
    if len(shape) == 3:
        yield lambda array: array.swapaxes(0, 1)  # time first
        yield lambda array: np.moveaxis(array, 0, -1)  # one image, without a batch
    for grid in grids:
        if len(shape) == 2 and shape[-1] == math.prod(grid):
            yield lambda array, grid=grid: channels_last(array, grid)


def _long(array: np.ndarray) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)


def _shaped(layout: Layout, shape: tuple[int, ...]) -> Layout:
    return lambda array: layout(array).reshape(shape)
