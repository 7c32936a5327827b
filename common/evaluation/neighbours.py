"""Metrics from nearest-neighbour balls: precision, recall, density, coverage."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

CHUNK_MEBIBYTES = 64  # of distances held at a time


@dataclass(frozen=True)
class Neighbourhood:
    """Points (N, D) in float64, and the squared distances (N, k) of each to its k nearest others, nearest first."""

    points: np.ndarray
    nearest: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, *, k: int) -> "Neighbourhood":
        """Finds the neighbours; a point is not its own, but an equal one is."""
        points = points.astype(np.float64)
        nearest = [np.sort(np.partition(chunk, k, axis=1)[:, : k + 1], axis=1) for chunk in _squared_distances(points)]
        return cls(points, np.concatenate(nearest)[:, 1:])  # the first is the point itself, at 0

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
    is_covered = np.empty(num_real, bool)
    is_recalled = np.empty(num_real, bool)
    start = 0
    # The arithmetic is that of the radii, so that a tie stays a tie.
    for distances in _squared_distances(real.points, generated.points):
        rows = slice(start, start + len(distances))
        in_real_ball = distances < real.radii[rows, None]
        num_real_balls_around += in_real_ball.sum(axis=0)
        is_covered[rows] = in_real_ball.any(axis=1)
        is_recalled[rows] = (distances < generated.radii).any(axis=1)
        start = rows.stop
    return NeighbourMetrics(
        precision=float(np.mean(num_real_balls_around > 0)),
        recall=float(np.mean(is_recalled)),
        density=float(np.mean(num_real_balls_around) / real.nearest.shape[1]),
        coverage=float(np.mean(is_covered)),
    )


def _squared_distances(points: np.ndarray, others: np.ndarray | None = None) -> Iterator[np.ndarray]:
    return pairwise_distances_chunked(points, others, working_memory=CHUNK_MEBIBYTES, squared=True)
