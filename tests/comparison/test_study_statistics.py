"""The statistics of a study find what was put into synthetic pairs, and seldom what was not."""

import numpy as np
import pytest
from scipy import stats

from comparison.study.statistics import holm, pair, pairs_needed, power, sign_flip_p, verdict

NUM_STUDIES = 10_000
# Of 10,000 studies with a true rate of 5 %, chance alone makes it 5.6 % in one of 300.
CHANCE = 3 * np.sqrt(0.05 * 0.95 / NUM_STUDIES)


def studies(
    num_pairs: int, *, difference: float, sd: float, correlation: float, num_studies: int = NUM_STUDIES
) -> tuple[np.ndarray, np.ndarray]:
    """Values of two frameworks, each (studies, pairs), whose means differ by `difference`."""
    draw = np.random.default_rng([num_pairs, round(100 * correlation), round(1e6 * sd)])
    shared, *own = draw.standard_normal((3, num_studies, num_pairs))
    first, second = (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * part for part in own)
    return 0.66 + difference + sd * first, 0.66 + sd * second


@pytest.mark.parametrize("num_pairs", [5, 8, 20])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("margin", [0.01, None])
def test_a_difference_as_large_as_the_margin_is_called_equivalence_in_five_studies_of_a_hundred(
    num_pairs, correlation, sign, margin
):
    sd = 0.004
    true_margin = sd if margin is None else margin
    found = pair(*studies(num_pairs, difference=sign * true_margin, sd=sd, correlation=correlation), margin=margin)
    rate = np.mean(found.p_equivalent <= 0.05)
    assert rate <= 0.05 + CHANCE
    within = (found.low90 > -found.margin) & (found.high90 < found.margin)
    assert np.array_equal(within, found.p_equivalent < 0.05), "the picture says what the verdict says"


def test_equal_frameworks_are_called_different_in_five_studies_of_a_hundred():
    found = pair(*studies(10, difference=0, sd=0.01, correlation=0.3), margin=0.01)
    assert np.mean(found.p_different <= 0.05) == pytest.approx(0.05, abs=CHANCE)
    outside = (found.low95 > 0) | (found.high95 < 0)
    assert np.array_equal(outside, found.p_different < 0.05)


@pytest.mark.parametrize(
    ("sd", "correlation", "num_pairs", "expected"),
    [(0.005, 0, 5, 0.67), (0.005, 0, 8, 0.95), (0.0075, 0, 10, 0.73), (0.01, 0, 20, 0.84), (0.0075, 0.5, 8, 0.92)],
)
def test_the_power_is_that_of_simulated_studies(sd, correlation, num_pairs, expected):
    simulated = pair(*studies(num_pairs, difference=0, sd=sd, correlation=correlation), margin=0.01)
    sd_difference = sd * np.sqrt(2 * (1 - correlation))
    computed = power(num_pairs, sd=sd_difference, margin=0.01)
    assert computed == pytest.approx(np.mean(simulated.p_equivalent <= 0.05), abs=0.015)
    assert computed == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("sd", "expected"), [(0.005, 8), (0.0075, 14), (0.01, 24)])
def test_so_many_pairs_show_equivalence_in_nine_studies_of_ten(sd, expected):
    assert pairs_needed(sd=sd * np.sqrt(2), margin=0.01) == expected


def test_a_study_that_could_never_meet_its_margin_needs_no_number_of_pairs():
    assert pairs_needed(sd=1.0, margin=1e-6) is None
    assert pairs_needed(sd=1.0, margin=0.0) is None


def test_intervals_and_p_values_are_scipys():
    first, second = (values[0] for values in studies(12, difference=0.002, sd=0.01, correlation=0.4, num_studies=1))
    found, expected = pair(first, second, margin=0.01), stats.ttest_rel(first, second)
    assert found.difference == pytest.approx(np.mean(first - second))
    assert found.p_different == pytest.approx(expected.pvalue)
    for level, low, high in ((0.9, found.low90, found.high90), (0.95, found.low95, found.high95)):
        assert (low, high) == pytest.approx(expected.confidence_interval(level))
    lower = stats.ttest_1samp(first - second, -0.01, alternative="greater").pvalue
    upper = stats.ttest_1samp(first - second, 0.01, alternative="less").pvalue
    assert found.p_equivalent == pytest.approx(max(lower, upper))
    assert found.correlation == pytest.approx(stats.pearsonr(first, second).statistic)


def test_the_margin_of_one_seed_sd_is_shrunk_by_its_own_uncertainty_and_less_so_with_more_pairs():
    shrunk = [
        np.median(pair(*studies(number, difference=0, sd=1.0, correlation=0), margin=None).margin)
        for number in (5, 20, 80)
    ]
    assert shrunk == sorted(shrunk)
    assert 0.8 < shrunk[0] < shrunk[-1] < 1


def test_runs_that_never_vary_are_equal_or_different_and_nothing_is_divided_by_zero():
    same, other = np.full(5, 0.5), np.full(5, 0.7)
    assert verdict(*(float(p) for p in pair(same, same, margin=0.01)[-2:])) == "equivalent"
    assert verdict(*(float(p) for p in pair(same, other, margin=0.01)[-2:])) == "different"
    assert verdict(*(float(p) for p in pair(same, same, margin=None)[-2:])) == "undecided"


def test_one_collapsed_run_leaves_the_study_undecided():
    first, second = (values[0] for values in studies(20, difference=0, sd=0.004, correlation=0, num_studies=1))
    assert verdict(*(float(p) for p in pair(first, second, margin=0.01)[-2:])) == "equivalent"
    first[3] = 0.0
    assert verdict(*(float(p) for p in pair(first, second, margin=0.01)[-2:])) == "undecided"


def test_holm_multiplies_the_smallest_most_and_never_turns_the_order_round():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


@pytest.mark.parametrize(
    ("p_equivalent", "p_different", "expected"),
    [(0.01, 0.9, "equivalent"), (0.01, 0.01, "equivalent"), (0.2, 0.01, "different"), (0.2, 0.2, "undecided")],
)
def test_equivalence_that_is_shown_comes_first(p_equivalent, p_different, expected):
    assert verdict(p_equivalent, p_different) == expected


def test_the_p_value_of_sign_flips_is_near_that_of_the_t_test_and_1_for_equal_runs():
    first, second = (values[0] for values in studies(12, difference=0.006, sd=0.01, correlation=0, num_studies=1))
    assert sign_flip_p(first - second) == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.03)
    assert sign_flip_p(np.zeros(5)) == 1.0
