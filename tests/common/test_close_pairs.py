"""Neighbours that are screened in float32 are those of float64, distance by distance."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from common.evaluation.close_pairs import NUM_COLUMNS, NUM_ROWS, nearest, pairs_within

NUM, NUM_OTHERS = NUM_ROWS + 40, NUM_COLUMNS + 70  # more than one block and one tile


def some_points(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and others that are hard to tell apart in float32, in one way each."""
    draw = np.random.default_rng(0)
    points, others = draw.standard_normal((NUM, 6)), draw.standard_normal((NUM_OTHERS, 6))
    if kind == "far from the origin":  # in float32 these would lie on a grid of 1 / 16
        return points + 1e6, others + 1e6
    if kind == "one far outlier":  # beside which the distances of the others are smaller than a rounding
        others[7] = 1e4
    if kind == "large numbers":  # whose squares float32 does not hold
        return points * 1e30, others * 1e30
    if kind == "copies":
        others[:NUM] = points
    return points, others


KINDS = ["usual", "far from the origin", "one far outlier", "large numbers", "copies"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_are_those_of_all_distances_in_float64(kind: str):
    points, others = some_points(kind)
    expected = cdist(points, others, "sqeuclidean")
    found = nearest(points, others, k=3)
    np.testing.assert_array_equal(found.indices, expected.argsort(axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(found.squared, np.sort(expected, axis=1)[:, :3], rtol=1e-12)


def test_a_point_is_not_its_own_neighbour_but_an_equal_one_is():
    points, _ = some_points("usual")
    points[5] = points[400]
    found = nearest(points, k=2)
    assert (found.indices[5, 0], found.indices[400, 0]) == (400, 5)
    assert found.squared[5, 0] == 0
    assert not (found.indices == np.arange(len(points))[:, None]).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 200])  # few pairs, and most of them
def test_a_pair_is_in_the_balls_that_it_is_in_by_all_distances_in_float64(kind: str, k: int):
    points, others = some_points(kind)
    expected = cdist(points, others, "sqeuclidean")
    radii, other_radii = np.sort(expected, axis=1)[:, k] * 1.001, np.sort(expected, axis=0)[k] * 1.001
    in_balls, in_other_balls = np.zeros((2, *expected.shape), bool)
    for pairs in pairs_within(points, others, radii, other_radii):
        in_balls[pairs.points, pairs.others] = pairs.in_ball_of_point
        in_other_balls[pairs.points, pairs.others] = pairs.in_ball_of_other
    np.testing.assert_array_equal(in_balls, expected < radii[:, None])
    np.testing.assert_array_equal(in_other_balls, expected < other_radii)


def test_balls_are_open_where_a_pair_lies_exactly_on_the_edge():
    points, _ = some_points("usual")
    third = nearest(points, k=3)
    for pairs in pairs_within(points, points.copy(), third.squared[:, 2], third.squared[:, 2]):
        inside = np.bincount(pairs.points[pairs.in_ball_of_point], minlength=len(points))
        rows = np.unique(pairs.points)
        assert (inside[rows] == 3).all()  # itself, and two of the three
