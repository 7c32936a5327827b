"""Metrics of what the classifier says: the MNIST score, and the classes it finds."""

from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import chi2_contingency, entropy

MISSING = 0.1  # of the share that a digit has among real ones


def mnist_score(logits: np.ndarray) -> float:
    """Salimans et al. 2016 with this classifier: exp of the mean KL(p(y|x) || p(y)), from 1 to 10."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    log_marginal = logsumexp(log_probabilities, axis=0) - np.log(len(logits))
    divergences = np.sum(np.exp(log_probabilities) * (log_probabilities - log_marginal), axis=1)
    return float(np.exp(divergences.mean()))


def mean_confidence(logits: np.ndarray) -> float:
    """Mean probability of the likeliest class."""
    return float(softmax(logits.astype(np.float64), axis=1).max(axis=1).mean())


def class_histogram(logits: np.ndarray) -> np.ndarray:
    """How many images the classifier assigns to each of the ten digits."""
    return np.bincount(logits.argmax(axis=1), minlength=10)


def class_metrics(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Of two histograms: KL of generated from real in nats, chi-square of both being draws of one, and gaps."""
    counts = np.stack([generated, real])
    present = counts[:, counts.any(axis=0)]
    chi_square: Any = chi2_contingency(present, correction=False)
    return {
        "class_kl": float(entropy(generated, real)),
        "class_chi_square": float(chi_square.statistic),
        "smallest_class": float(generated.min() / generated.sum()),
        "num_missing_classes": float(len(missing_classes(generated, real))),
    }


def missing_classes(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The digits with less than a tenth of their real share.

    Not those with none: the classifier takes a few of any 10,000 images for a digit that is not there.
    """
    shares, real_shares = (histogram / histogram.sum() for histogram in (generated, real))
    return np.flatnonzero(shares < MISSING * real_shares)


def class_examples(logits: np.ndarray, *, num: int = 10) -> list[list[int]]:
    """Of each digit the first `num` images that were taken for it."""
    return [np.flatnonzero(logits.argmax(axis=1) == digit)[:num].tolist() for digit in range(10)]
