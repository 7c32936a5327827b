"""Metrics from nearest-neighbour balls: precision, recall, density, coverage."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.evaluation.close_pairs import nearest, pairs_within


@dataclass(frozen=True)
class Neighbourhood:
    """Points (N, D), and the squared distances (N, k) of each to its k nearest others, nearest first."""

    points: np.ndarray
    nearest: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, *, k: int) -> "Neighbourhood":
        """Finds the neighbours; a point is not its own, but an equal one is."""
        return cls(points, nearest(points, k=k).squared)

    @property
    def radii(self) -> np.ndarray:
        """Squared radius (N,) of each point's ball: the distance of its k-th neighbour."""
        return self.nearest[:, -1]


class NeighbourMetrics(NamedTuple):
    """Precision, recall, coverage in [0, 1]; density from 0, about 1 for equal distributions."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_metrics(real: Neighbourhood, generated: Neighbourhood) -> NeighbourMetrics:
    """Four metrics of equally many points on both sides, with balls open at the k-th neighbour.

    Precision, recall: Kynkäänniemi et al. 2019 (generated points inside a real ball, and the reverse).
    Density, coverage: Naeem et al. 2020 (real balls around a generated point; real balls that hold one).
    Raises ValueError for unequal numbers, because every one of the four depends on both.
    """
    num_real, num_generated = len(real.points), len(generated.points)
    if num_real != num_generated:
        raise ValueError(f"needs as many generated as real features, got {num_generated} and {num_real}")
    num_real_balls_around = np.zeros(num_generated, np.int64)  # for each generated point
    is_covered, is_recalled = np.zeros((2, num_real), bool)
    for pairs in pairs_within(real.points, generated.points, real.radii, generated.radii):
        num_real_balls_around += np.bincount(pairs.others[pairs.in_ball_of_point], minlength=num_generated)
        is_covered[pairs.points[pairs.in_ball_of_point]] = True
        is_recalled[pairs.points[pairs.in_ball_of_other]] = True
    return NeighbourMetrics(
        precision=float(np.mean(num_real_balls_around > 0)),
        recall=float(np.mean(is_recalled)),
        density=float(np.mean(num_real_balls_around) / real.nearest.shape[1]),
        coverage=float(np.mean(is_covered)),
    )
