"""How far apart two arrays are, tensor by tensor: never one global maximum, and NaN is never agreement."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray], float]
AMPLIFICATION = 10.0


def relative_l2(measured: np.ndarray, reference: np.ndarray) -> float:
    """|a - b| / |b|, or |a - b| where b is zero; infinite for a NaN on either side or another shape."""
    return _relative(measured, reference, lambda array: float(np.linalg.norm(array.ravel())))


def max_relative(measured: np.ndarray, reference: np.ndarray) -> float:
    """Largest |a - b| over largest |b|, or |a - b| where b is zero; infinite for a NaN or another shape."""
    return _relative(measured, reference, lambda array: float(np.abs(array).max(initial=0)))


def errors(measured: Arrays, reference: Arrays, distance: Distance = relative_l2) -> dict[str, float]:
    """The error of every tensor by name; one that only one side has is infinitely far."""
    names = [*reference, *(name for name in measured if name not in reference)]
    return {
        name: distance(measured[name], reference[name]) if name in measured and name in reference else math.inf
        for name in names
    }


def _relative(measured: np.ndarray, reference: np.ndarray, size: Callable[[np.ndarray], float]) -> float:
    if measured.shape != reference.shape:
        return math.inf
    measured, reference = measured.astype(np.float64), reference.astype(np.float64)
    if not (np.isfinite(measured).all() and np.isfinite(reference).all()):
        return math.inf
    scale, difference = size(reference), size(measured - reference)
    return difference / scale if scale > 0 else difference


class Link(NamedTuple):
    """One result in the order of execution: its error, and the error of what it was computed from."""

    name: str
    error: float
    input_error: float

    def __str__(self) -> str:
        return f"{self.name} ({self.error:.1e}, its input {self.input_error:.1e})"


def first_divergence(links: Iterable[Link], *, tolerance: float) -> Link | None:
    """The first link whose error exceeds the tolerance and ten times its input's error; None if there is none."""
    return next((link for link in links if link.error > max(tolerance, AMPLIFICATION * link.input_error)), None)


def sequence(errors: Mapping[str, float], *, input_error: float = 0.0) -> Iterator[Link]:
    """Layers one after the other: each is computed from the one before it."""
    for name, error in errors.items():
        yield Link(name, error, input_error)
        input_error = error


def accumulation(errors: Mapping[str, float], *, input_error: float = 0.0) -> Iterator[Link]:
    """The tensors of a step: each may depend on all that come before it."""
    for name, error in errors.items():
        yield Link(name, error, input_error)
        input_error = max(input_error, error)
