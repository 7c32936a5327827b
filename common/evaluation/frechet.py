"""Fréchet distances of Gaussians fitted to features, at the given number of samples and extrapolated to infinite N."""

from typing import NamedTuple

import numpy as np

from common.data.randomness import stream

NUM_EXTRAPOLATION_SIZES = 15  # as Chong & Forsyth 2020; from half of the samples on, where theirs begin at 5,000


class Gaussian(NamedTuple):
    """Mean (D,) and covariance (D, D) in float64."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Gaussian":
        """Fitted to features (N, D); the covariance is divided by N - 1."""
        features = features.astype(np.float64)
        return cls(features.mean(axis=0), np.cov(features, rowvar=False))


def frechet_distance(real: Gaussian, generated: Gaussian) -> float:
    """Squared Fréchet distance (Heusel et al. 2017, equation 6).

    The trace of (S1 S2)^1/2 is taken from the symmetric S1^1/2 S2 S1^1/2: it is real, and needs no sqrtm.
    """
    values, vectors = np.linalg.eigh(real.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product_values = np.linalg.eigvalsh(root @ generated.covariance @ root)
    mean_distance = np.sum((real.mean - generated.mean) ** 2)
    trace_of_root = np.sqrt(product_values.clip(min=0)).sum()
    distance = mean_distance + np.trace(real.covariance) + np.trace(generated.covariance) - 2 * trace_of_root
    return float(max(distance, 0.0))


def frechet_distance_infinite(real: Gaussian, generated: np.ndarray, *, seed: int) -> float:
    """Chong & Forsyth 2020, section 3: the intercept of the distance over 1 / N, N the number of generated samples.

    It removes the bias of the generated side alone, so it can fall below 0 for real digits.
    """
    sizes = np.linspace(len(generated) / 2, len(generated), NUM_EXTRAPOLATION_SIZES).astype(int)
    draw = stream(seed, "evaluation/extrapolation")
    subsets = [generated[draw.permutation(len(generated))[:size]] for size in sizes]
    distances = [frechet_distance(real, Gaussian.of(subset)) for subset in subsets]
    slope_and_intercept = np.polyfit(1 / sizes, distances, 1)
    return float(slope_and_intercept[1])
