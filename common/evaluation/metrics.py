"""Every metric of one draw of samples against the real digits: arrays in, plain numbers out."""

from typing import NamedTuple

import numpy as np

from common.evaluation.classes import class_histogram, class_metrics, mean_confidence, mnist_score
from common.evaluation.frechet import Gaussian, frechet_distance, frechet_distance_infinite
from common.evaluation.memorisation import (
    NearestTraining,
    copying_statistic,
    duplicate_fraction,
    memorised_fraction,
    nearest_training,
)
from common.evaluation.neighbours import Neighbourhood, neighbour_metrics
from common.evaluation.reference import SEED, K, Reference
from common.stages import stage


class Draw(NamedTuple):
    """One draw of N samples: digits uint8 (N, 28, 28), and what the network says about them."""

    digits: np.ndarray
    features: np.ndarray
    logits: np.ndarray


class Scores(NamedTuple):
    """Values by metric, and the standard errors of those that have one."""

    values: dict[str, float]
    standard_errors: dict[str, float]
    nearest: NearestTraining | None = None  # if they were searched for


def make_draw(digits: np.ndarray, reference: Reference) -> Draw:
    """Features of uint8 digits (N, 28, 28)."""
    return Draw(digits, *reference.network.extract(digits))


def quick_scores(draw: Draw, reference: Reference) -> Scores:
    """What needs neither neighbours nor the training digits."""
    kernel = reference.kernel.distance_to(draw.features)
    values = {
        "frechet_distance": frechet_distance(reference.gaussian, Gaussian.of(draw.features)),
        "kid": kernel.value,
        "mnist_score": mnist_score(draw.logits),
    }
    return Scores(values, {} if kernel.standard_error is None else {"kid": kernel.standard_error})


def all_scores(draw: Draw, reference: Reference) -> Scores:
    """Every metric that samples alone have."""
    with stage("computing all metrics of a draw", 3) as parts:
        full = full_scores(draw, reference)
        parts.advance()
        nearest = nearest_training(draw.features, reference.training_digits.features)
        parts.advance()
        memorised = memorisation_scores(draw, nearest, reference)
        parts.advance()
    return Scores(full.values | memorised, full.standard_errors, nearest)


def full_scores(draw: Draw, reference: Reference) -> Scores:
    """What needs no search through all training digits."""
    quick = quick_scores(draw, reference)
    neighbourhood = Neighbourhood.of(draw.features, k=K)
    components = reference.training_digits.components(draw.digits)
    in_pixels = neighbour_metrics(reference.pixel_neighbourhood, Neighbourhood.of(components, k=K))
    values = {
        "frechet_distance": quick.values["frechet_distance"],
        "frechet_distance_infinite": frechet_distance_infinite(reference.gaussian, draw.features, seed=SEED),
        "kid": quick.values["kid"],
        **neighbour_metrics(reference.neighbourhood, neighbourhood)._asdict(),
        "mnist_score": quick.values["mnist_score"],
        **class_metrics(class_histogram(draw.logits), class_histogram(reference.logits)),
        "mean_confidence": mean_confidence(draw.logits),
        "pixel_frechet_distance": frechet_distance(reference.pixel_gaussian, Gaussian.of(components)),
        "pixel_precision": in_pixels.precision,
        "pixel_coverage": in_pixels.coverage,
        "duplicate_fraction": duplicate_fraction(neighbourhood.nearest[:, 0], reference.neighbourhood.nearest[:, 0]),
    }
    return Scores(values, quick.standard_errors)


def memorisation_scores(draw: Draw, nearest: NearestTraining, reference: Reference) -> dict[str, float]:
    """Screens against copies of training digits; `nearest` are those of the draw."""
    statistics = reference.training_digits.statistics
    return {
        "memorised_fraction": memorised_fraction(nearest, statistics.distances),
        "copying_statistic": copying_statistic(
            draw.features,
            nearest.distances,
            test_features=reference.test_features,
            test_distances=reference.test_nearest.distances,
            centres=statistics.centres,
        ),
    }
