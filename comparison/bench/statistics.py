"""What repeated timings say: medians, and intervals of ratios that are taken within a repetition."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

NUM_RESAMPLES = 10_000
COVERAGE = 0.95
MAX_CONTROL_WIDTH = 1.1


class Interval(NamedTuple):
    """A median, and what it may be; JSON's median, low and high."""

    median: float
    low: float
    high: float


def quartiles(values: Sequence[float]) -> Interval:
    """Median and interquartile range."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Interval(float(median), float(low), float(high))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """The median of the ratios within each repetition, and its bootstrap interval over repetitions.

    What slows the machine for a whole repetition slows both of a pair; the ratio of two medians would not know.
    """
    assert len(numerators) == len(denominators) > 0
    ratios = np.array(numerators) / np.array(denominators)
    draws = np.random.default_rng(0).integers(0, len(ratios), (NUM_RESAMPLES, len(ratios)))
    medians = np.median(ratios[draws], axis=1)
    low, high = np.quantile(medians, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(np.median(ratios)), float(low), float(high))


def is_itself(control: Interval) -> bool:
    """Whether the same arm, measured twice, is as fast as itself: the interval of its ratio contains 1, and is narrow.

    Noise widens the interval, so that a machine on which nothing can be measured would pass by that alone.
    """
    return control.low <= 1 <= control.high <= MAX_CONTROL_WIDTH * control.low


def break_even_step(extra_seconds: Mapping[str, float], step_seconds: Mapping[str, float]) -> int | None:
    """The step from which the arm that starts more slowly has repaid it; None if it never does, 0 if it need not."""
    slow_start, fast_start = sorted(extra_seconds, key=lambda name: -extra_seconds[name])
    lead = extra_seconds[slow_start] - extra_seconds[fast_start]
    gain = step_seconds[fast_start] - step_seconds[slow_start]
    if lead == 0:
        return 0
    return math.ceil(lead / gain) if gain > 0 else None
