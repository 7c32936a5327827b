"""What pairs of runs say: is the difference small enough to be called none? Pure functions of arrays.

A pair is one seed in both frameworks; pairs are the last axis, so that thousands of studies are one call. The test of
equivalence is two one-sided t-tests, TOST (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15; Lakens 2017): equivalent
if the 90 % interval of the mean difference lies within the margin. A margin of one standard deviation over seeds is
estimated from the same runs, and its own uncertainty is taken off it: otherwise too many studies would find equality.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

ALPHA = 0.05
VERDICTS = ("equivalent", "different", "undecided")
NUM_SIGN_FLIPS = 9_999
POWER_POINTS = (np.arange(2_000) + 0.5) / 2_000  # quantiles of the standard deviation that a study finds
MOST_PAIRS = 1_000


class Paired(NamedTuple):
    """Of the differences first - second; every field has the shape of the studies."""

    difference: np.ndarray
    sd: np.ndarray  # of the differences
    correlation: np.ndarray  # of the two frameworks' values over seeds; NaN where one of them never varies
    low90: np.ndarray
    high90: np.ndarray
    low95: np.ndarray
    high95: np.ndarray
    margin: np.ndarray  # what the 90 % interval must lie within
    p_equivalent: np.ndarray
    p_different: np.ndarray

    @property
    def half_width90(self) -> np.ndarray:
        """The smallest margin that this study could have met."""
        return (self.high90 - self.low90) / 2


def pair(first: np.ndarray, second: np.ndarray, *, margin: float | None) -> Paired:
    """Compare values (..., pairs), at least two pairs; without a margin it is one standard deviation over seeds."""
    num_pairs = first.shape[-1]
    assert first.shape == second.shape
    assert num_pairs >= 2
    differences = first - second
    mean, sd = differences.mean(axis=-1), differences.std(axis=-1, ddof=1)
    error = sd / np.sqrt(num_pairs)
    correlation = correlate(first, second)
    t95, t975 = stats.t.ppf([1 - ALPHA, 1 - ALPHA / 2], num_pairs - 1)
    if margin is None:
        wanted, margin_error = seed_sd(first, second, correlation)
    else:
        wanted, margin_error = np.full(mean.shape, margin), np.zeros(mean.shape)
    both_errors = np.hypot(error, margin_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_equivalent = stats.t.sf((wanted - abs(mean)) / both_errors, num_pairs - 1)
        p_different = 2 * stats.t.sf(abs(mean) / error, num_pairs - 1)
    return Paired(
        mean,
        sd,
        correlation,
        mean - t95 * error,
        mean + t95 * error,
        mean - t975 * error,
        mean + t975 * error,
        # |mean| + t * error is within it just if the test with both errors says so.
        np.maximum(wanted - t95 * (both_errors - error), 0),
        np.nan_to_num(p_equivalent, nan=1.0),
        np.nan_to_num(p_different, nan=1.0),
    )


def correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation over the last axis, NaN where there is none."""
    centred = [values - values.mean(axis=-1, keepdims=True) for values in (first, second)]
    squares = [(values**2).sum(axis=-1) for values in centred]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (centred[0] * centred[1]).sum(axis=-1) / np.sqrt(squares[0] * squares[1])


def seed_sd(first: np.ndarray, second: np.ndarray, correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The standard deviation over seeds, pooled over both frameworks, and its standard error.

    Two variances that correlate, as squares of correlated values do, are worth less than two.
    """
    pooled = np.sqrt((first.var(axis=-1, ddof=1) + second.var(axis=-1, ddof=1)) / 2)
    degrees = 2 * (first.shape[-1] - 1) / (1 + np.nan_to_num(correlation) ** 2)
    return pooled, pooled / np.sqrt(2 * degrees)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for how many there are (Holm 1979): each at most 0.05 keeps all false findings together at 5 %."""
    order = np.argsort(p_values)
    steps = np.array(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def verdict(p_equivalent: float, p_different: float) -> str:
    """Equivalent if it is shown, though a small difference be shown as well; else different if that is shown."""
    shown = (p_equivalent <= ALPHA, p_different <= ALPHA, True)
    return VERDICTS[shown.index(True)]


def sign_flip_p(differences: np.ndarray) -> float:
    """How often a mean is as far from 0 if each difference (pairs,) might as well have the other sign: no normality."""
    if not differences.any():
        return 1.0
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=NUM_SIGN_FLIPS, rng=np.random.default_rng(0)
    )
    return float(found.pvalue)


def power(num_pairs: int, *, sd: float, margin: float, difference: float = 0.0) -> float:
    """How often a study of so many pairs shows equivalence, if differences have this sd and this true mean."""
    if sd == 0:
        return float(abs(difference) < margin)
    found = sd * np.sqrt(stats.chi2.ppf(POWER_POINTS, num_pairs - 1) / (num_pairs - 1))
    error = sd / np.sqrt(num_pairs)
    room = margin - stats.t.ppf(1 - ALPHA, num_pairs - 1) * found / np.sqrt(num_pairs)
    within = stats.norm.cdf((room - difference) / error) - stats.norm.cdf((-room - difference) / error)
    return float(np.where(room > 0, within, 0).mean())


def pairs_needed(*, sd: float, margin: float, wanted: float = 0.9) -> int | None:
    """The smallest study that shows equivalence so often if the frameworks are equal; None beyond 1,000 pairs."""
    if margin <= 0:
        return None
    enough = (number for number in range(2, MOST_PAIRS + 1) if power(number, sd=sd, margin=margin) >= wanted)
    return next(enough, None)
