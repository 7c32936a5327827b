"""How far apart two arrays are, tensor by tensor: never one global maximum, and NaN is never agreement."""

import math
from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray], float]


def relative_l2(measured: np.ndarray, reference: np.ndarray) -> float:
    """|a - b| / |b|, or |a - b| where b is zero; infinite for a NaN on either side or another shape."""
    return _relative(measured, reference, lambda array: float(np.linalg.norm(array.ravel())))


def max_relative(measured: np.ndarray, reference: np.ndarray) -> float:
    """Largest |a - b| over largest |b|, with the same exceptions."""
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
