"""Screens for memorised and repeated samples. Screening, not proof: a small shift of a copy can pass."""

from typing import NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu
from sklearn.metrics import pairwise_distances_argmin

from common.evaluation.close_pairs import nearest

DUPLICATE_QUANTILE = 0.01
NEAR_COPY = 0.5
MIN_CELL_SAMPLES = 20  # Meehan et al. 2020, section 4: cells with fewer samples are left out
NUM_SHOWN = 10


class NearestTraining(NamedTuple):
    """Of each point its nearest training image: index (N,) and distance (N,)."""

    indices: np.ndarray
    distances: np.ndarray


def nearest_training(features: np.ndarray, training_features: np.ndarray) -> NearestTraining:
    """Euclidean, in float64."""
    indices, squared = nearest(features, training_features, k=1)
    return NearestTraining(indices[:, 0], np.sqrt(squared[:, 0]))


def memorised_fraction(nearest: NearestTraining, training_distances: np.ndarray) -> float:
    """Share of samples nearer to a training image than that image's own nearest neighbour among them.

    The complement of the authenticity of Alaa et al. 2022, section 4; `training_distances` (M,) are the latter.
    """
    return float(np.mean(nearest.distances < training_distances[nearest.indices]))


def near_copies(nearest: NearestTraining, training_distances: np.ndarray) -> float:
    """Share of samples less than half as far from a training image as that image's own nearest neighbour."""
    return float(np.mean(nearest.distances < NEAR_COPY * training_distances[nearest.indices]))


def duplicate_fraction(generated_nearest: np.ndarray, real_nearest: np.ndarray) -> float:
    """Share of samples with another sample nearer than the 1 % quantile of nearest-neighbour distances of real ones."""
    return float(np.mean(generated_nearest < np.quantile(real_nearest, DUPLICATE_QUANTILE)))


def copying_statistic(
    features: np.ndarray,
    distances: np.ndarray,
    *,
    test_features: np.ndarray,
    test_distances: np.ndarray,
    centres: np.ndarray,
) -> float:
    """C_T of Meehan et al. 2020, equation 3: Mann-Whitney Z of the distances to training images, averaged over cells.

    Far below 0: samples sit closer to training images than test digits do (copying); far above: they underfit.
    The cells are those of the nearest of `centres` (k-means of the training features).
    """
    cells, test_cells = (
        pairwise_distances_argmin(points.astype(np.float64), centres) for points in (features, test_features)
    )
    scores, shares = [], []
    for cell in range(len(centres)):
        own, tested = distances[cells == cell], test_distances[test_cells == cell]
        if min(len(own), len(tested)) < MIN_CELL_SAMPLES:
            continue
        product = len(own) * len(tested)
        statistic = mannwhitneyu(own, tested).statistic  # pairs in which the sample is farther away
        scores.append((statistic - product / 2) / np.sqrt(product * (len(own) + len(tested) + 1) / 12))
        shares.append(len(tested))
    return float(np.average(scores, weights=shares)) if scores else 0.0


def closest_to_training(nearest: NearestTraining, training_distances: np.ndarray) -> list[dict[str, float]]:
    """The samples closest to a training image, relative to that image's own neighbour: what a person should look at."""
    own = training_distances[nearest.indices]
    order = np.argsort(nearest.distances / np.maximum(own, np.finfo(np.float64).tiny), kind="stable")[:NUM_SHOWN]
    return [
        {
            "sample": int(index),
            "training_image": int(nearest.indices[index]),
            "distance": float(nearest.distances[index]),
            "own_distance": float(own[index]),
        }
        for index in order
    ]
