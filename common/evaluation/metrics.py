"""The metrics: NumPy arrays in, plain numbers out."""

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import entropy

from common.evaluation.feature_network import Features
from common.evaluation.neighbours import neighbour_metrics

K = 5  # nearest neighbours, as in the prdc paper


def sample_metrics(generated: Features) -> dict[str, float]:
    """Metrics of one set alone; their floor is their value on the real test digits."""
    histogram = class_histogram(generated.logits)
    return {
        "mnist_score": mnist_score(generated.logits),
        "smallest_class": float(histogram.min() / histogram.sum()),
        "num_missing_classes": float(np.sum(histogram == 0)),
        "mean_confidence": float(softmax(generated.logits.astype(np.float64), axis=1).max(axis=1).mean()),
    }


def comparison_metrics(generated: Features, real: Features) -> dict[str, float]:
    """Metrics of a generated set against equally many real images; their floor is real against real."""
    return {
        "frechet_distance": frechet_distance(real.features, generated.features),
        **neighbour_metrics(real.features, generated.features, k=K)._asdict(),
        "class_kl": float(entropy(class_histogram(generated.logits), class_histogram(real.logits))),
    }


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Squared Fréchet distance of Gaussians fitted to features (N, D), in float64 (Heusel et al. 2017).

    The trace of (S1 S2)^1/2 is taken from the symmetric S1^1/2 S2 S1^1/2: it is real, and needs no sqrtm.
    """
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    real_covariance, generated_covariance = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    values, vectors = np.linalg.eigh(real_covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product_values = np.linalg.eigvalsh(root @ generated_covariance @ root)
    mean_distance = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    trace_of_root = np.sqrt(product_values.clip(min=0)).sum()
    distance = mean_distance + np.trace(real_covariance) + np.trace(generated_covariance) - 2 * trace_of_root
    return float(max(distance, 0.0))


def mnist_score(logits: np.ndarray) -> float:
    """Salimans et al. 2016 with this classifier: exp of the mean KL(p(y|x) || p(y)), from 1 to 10."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    log_marginal = logsumexp(log_probabilities, axis=0) - np.log(len(logits))
    divergences = np.sum(np.exp(log_probabilities) * (log_probabilities - log_marginal), axis=1)
    return float(np.exp(divergences.mean()))


def class_histogram(logits: np.ndarray) -> np.ndarray:
    """How many images the classifier assigns to each of the ten digits."""
    return np.bincount(logits.argmax(axis=1), minlength=10)
