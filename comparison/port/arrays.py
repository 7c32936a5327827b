"""Arrays of two frameworks side by side: nested arguments, layouts brought to one, and how far apart they are."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from comparison.parity.divergence import max_relative

Grid = tuple[int, ...]  # channels, rows and columns that were flattened into one axis
Layout = Callable[[np.ndarray], np.ndarray]


@dataclass
class Call:
    """One call of one module, with its own framework's arrays; `before` and `after` are its running statistics."""

    path: str
    index: int  # how often it was called before
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any = None
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


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
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(mapped(each, function) for each in thing))
    if isinstance(thing, list | tuple):
        return type(thing)(mapped(each, function) for each in thing)
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
    if not (np.isfinite(measured).all() and np.isfinite(reference).all()):
        same = np.isinf(reference) & (measured == reference)
        measured, reference = np.where(same, 0, measured), np.where(same, 0, reference)
    error, size = max_relative(measured, reference), float(np.abs(reference).max(initial=0))
    return error * (size or 1.0) / at_least if at_least > size else error


def channels_last(array: np.ndarray, grid: Grid, axis: int = -1) -> np.ndarray:
    """The flattened axis in Flax's order: channels, rows, columns becomes rows, columns, channels."""
    axis %= array.ndim
    opened = array.reshape(*array.shape[:axis], *grid, *array.shape[axis + 1 :])
    return np.moveaxis(opened, axis, axis + len(grid) - 1).reshape(array.shape)


def layouts(ndim: int, grids: Iterable[Grid] = ()) -> Iterator[Layout]:
    """The orders in which Flax may hold PyTorch's array."""
    yield lambda array: array
    if ndim > 2:
        yield lambda array: np.moveaxis(array, 1, -1)
    if ndim == 3:
        yield lambda array: array.swapaxes(0, 1)  # time first
        yield lambda array: np.moveaxis(array, 0, -1)  # one image, without a batch
    for grid in grids if ndim == 2 else ():
        yield (
            lambda array, grid=grid: (
                channels_last(array, grid) if array.shape[-1] == math.prod(grid) else array[..., :0]
            )
        )


def nearest(measured: np.ndarray, references: list[np.ndarray], grids: Iterable[Grid] = ()) -> Match | None:
    """The reference nearest to what was measured, in its best layout; axes of length 1 may come and go."""
    found = []
    for index, reference in enumerate(references):
        if is_float(reference) == is_float(measured) and reference.size == measured.size:
            of_one = [
                Match(index, _shaped(layout, measured.shape), distance(measured, laid.reshape(measured.shape)), True)
                for layout in layouts(reference.ndim, grids)
                if _long(laid := layout(reference)) == _long(measured)
            ]
            found += [min(of_one, key=lambda match: match.error)] if of_one else []
    if not found:
        return None
    best = min(found, key=lambda match: match.error)
    return best._replace(alone=sum(match.error == best.error for match in found) == 1)


def error_between(
    measured: list[np.ndarray], references: list[np.ndarray], grids: Iterable[Grid] = (), *, in_order: bool = True
) -> float:
    """The largest error of several arrays: in order, or, where one side has more, of those that have a counterpart."""
    if len(measured) == len(references) and in_order:
        matches = [nearest(a, [b], grids) for a, b in zip(measured, references, strict=True)]
    elif len(measured) <= len(references):
        matches = [nearest(a, references, grids) for a in measured]
    else:
        found = [(nearest(a, [b], grids) for a in measured) for b in references]
        matches = [min((m for m in of_one if m), key=lambda match: match.error, default=None) for of_one in found]
    return max((match.error if match else math.inf for match in matches), default=0.0)


def _long(array: np.ndarray) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)


def _shaped(layout: Layout, shape: tuple[int, ...]) -> Layout:
    return lambda array: layout(array).reshape(shape)
