"""Metrics from nearest-neighbour balls: precision, recall, density, coverage."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

CHUNK_MEBIBYTES = 64  # of distances held at a time


class NeighbourMetrics(NamedTuple):
    """Precision, recall, coverage in [0, 1]; density from 0, about 1 for equal distributions."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_metrics(real: np.ndarray, generated: np.ndarray, *, k: int) -> NeighbourMetrics:
    """Four metrics of equally many features (N, D) on both sides, with balls open at the k-th neighbour.

    Precision, recall: Kynkäänniemi et al. 2019 (generated points inside a real ball, and the reverse).
    Density, coverage: Naeem et al. 2020 (real balls around a generated point; real balls that hold one).
    Raises ValueError for unequal numbers, because every one of the four depends on both.
    """
    if len(real) != len(generated):
        raise ValueError(f"needs as many generated as real features, got {len(generated)} and {len(real)}")
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)

    num_real_balls_around = np.zeros(len(generated), np.int64)  # for each generated point
    is_covered = np.empty(len(real), bool)
    is_recalled = np.empty(len(real), bool)
    start = 0
    for distances in pairwise_distances_chunked(real, generated, working_memory=CHUNK_MEBIBYTES):
        rows = slice(start, start + len(distances))
        in_real_ball = distances < real_radii[rows, None]
        num_real_balls_around += in_real_ball.sum(axis=0)
        is_covered[rows] = in_real_ball.any(axis=1)
        is_recalled[rows] = (distances < generated_radii).any(axis=1)
        start = rows.stop
    return NeighbourMetrics(
        precision=float(np.mean(num_real_balls_around > 0)),
        recall=float(np.mean(is_recalled)),
        density=float(np.mean(num_real_balls_around) / k),
        coverage=float(np.mean(is_covered)),
    )


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Distance of each point to its k-th neighbour, itself not counted.

    The arithmetic is that of the distances compared with it, so that a tie stays a tie.
    """

    def kth_smallest(distances: np.ndarray, _: int) -> np.ndarray:
        return np.partition(distances, k, axis=1)[:, k].copy()  # a view would keep the whole chunk alive

    chunks = pairwise_distances_chunked(points, reduce_func=kth_smallest, working_memory=CHUNK_MEBIBYTES)
    return np.concatenate(list(chunks))
