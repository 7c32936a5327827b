"""Each metric of the evaluator against independent implementations, closed forms, and sets whose answer is known."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import prdc
import pytest
import scipy.linalg

from common.data.datasets import Dataset
from common.data.latent_paths import slerp
from common.evaluation import discriminator_features
from common.evaluation import kernel_distance as kernel_distance_module
from common.evaluation.classes import class_examples, class_histogram, class_metrics, mnist_score
from common.evaluation.discriminator_features import linear_accuracies, linear_accuracy, pooled
from common.evaluation.frechet import Gaussian, frechet_distance, frechet_distance_infinite
from common.evaluation.kernel_distance import SUBSET_SIZE, kernel_distance
from common.evaluation.memorisation import (
    NearestTraining,
    closest_to_training,
    copying_statistic,
    duplicate_fraction,
    memorised_fraction,
    nearest_training,
)
from common.evaluation.neighbours import Neighbourhood, NeighbourMetrics, neighbour_metrics
from common.evaluation.smoothness import path_length

NUM, NUM_FEATURES = 2_000, 16


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def overlapping_features() -> tuple[np.ndarray, np.ndarray]:
    """Real and generated features, float32, that overlap in part."""
    draw = np.random.default_rng(1)
    real = draw.standard_normal((NUM, NUM_FEATURES)) @ draw.standard_normal((NUM_FEATURES, NUM_FEATURES))
    generated = 0.9 * draw.standard_normal((NUM, NUM_FEATURES)) @ draw.standard_normal((NUM_FEATURES, NUM_FEATURES))
    return real.astype(np.float32), (generated + 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def feature_sets() -> tuple[np.ndarray, np.ndarray]:
    return overlapping_features()


def distance_of(real: np.ndarray, generated: np.ndarray) -> float:
    return frechet_distance(Gaussian.of(real), Gaussian.of(generated))


def neighbours_of(real: np.ndarray, generated: np.ndarray, *, k: int = 5) -> NeighbourMetrics:
    return neighbour_metrics(Neighbourhood.of(real, k=k), Neighbourhood.of(generated, k=k))


# The Fréchet distance


def test_frechet_distance_has_the_closed_form_of_independent_gaussians(rng: np.random.Generator):
    white = rng.standard_normal((500, 4))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T  # covariance exactly 1
    a, b = np.array([1.0, 2.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.5, 0.0])  # standard deviations
    shift = np.array([1.0, 0.0, -2.0, 3.0])
    expected = np.sum(shift**2) + np.sum((a - b) ** 2)
    assert distance_of(white * a, white * b + shift) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_agrees_with_the_matrix_square_root(feature_sets):
    real, generated = (features.astype(np.float64) for features in feature_sets)
    covariances = [np.cov(features, rowvar=False) for features in (real, generated)]
    root = np.real(scipy.linalg.sqrtm(covariances[0] @ covariances[1]))
    expected = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2) + np.trace(sum(covariances) - 2 * root)
    assert distance_of(real, generated) == pytest.approx(expected, rel=1e-9)


def test_the_distance_at_infinite_n_is_nearer_to_the_true_one(rng: np.random.Generator):
    """Both from one Gaussian: the true distance is 0, a finite number of samples is always above."""
    real = Gaussian(np.zeros(64), np.eye(64))
    generated = rng.standard_normal((NUM, 64))
    measured = frechet_distance(real, Gaussian.of(generated))
    extrapolated = frechet_distance_infinite(real, generated, seed=0)
    assert measured > 0.4
    assert abs(extrapolated) < measured / 10
    assert frechet_distance_infinite(real, generated, seed=0) == extrapolated


# The kernel distance


def test_kernel_distance_of_equal_distributions_is_zero_within_its_standard_error(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_distance_module, "NUM_SUBSETS", 20)
    first, second = rng.standard_normal((2, 5 * SUBSET_SIZE, 8))
    found = kernel_distance(first, second, seed=0)
    assert found.standard_error is not None
    assert abs(found.value) < 4 * found.standard_error


@pytest.mark.slow
def test_the_standard_error_is_the_deviation_that_fresh_draws_have(rng: np.random.Generator):
    draws = [kernel_distance(*rng.standard_normal((2, 3 * SUBSET_SIZE, 4)), seed=0) for _ in range(12)]
    errors = [found.standard_error for found in draws if found.standard_error is not None]
    assert 0.5 < np.mean(errors) / np.std([found.value for found in draws], ddof=1) < 2


# Neighbours


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_neighbour_metrics_agree_with_prdc(rng: np.random.Generator, shift: float):
    real, generated = rng.standard_normal((400, 6)), rng.standard_normal((400, 6)) * 0.8 + shift
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(real, generated, nearest_k=5)
    assert neighbours_of(real, generated)._asdict() == pytest.approx(expected, rel=1e-12)


def test_neighbour_metrics_refuse_unequal_numbers(rng: np.random.Generator):
    with pytest.raises(ValueError, match="as many generated as real features, got 10 and 20"):
        neighbours_of(rng.standard_normal((20, 2)), rng.standard_normal((10, 2)))


def test_a_collapsed_set_is_precise_and_has_no_recall(rng: np.random.Generator):
    real = rng.standard_normal((500, 6))
    collapsed = neighbours_of(real, np.repeat(real[:1], 500, axis=0))
    assert (collapsed.precision, collapsed.recall) == (1, 0)
    assert collapsed.coverage < 0.02


def test_a_memorised_set_is_perfect_by_its_neighbours(rng: np.random.Generator):
    real = rng.standard_normal((500, 6))
    assert neighbours_of(real, real) == (1, 1, 1, 1)


# Classes


def test_mnist_score_is_the_number_of_classes_chosen_with_certainty():
    for num_classes in (1, 4, 10):
        logits = np.full((num_classes * 5, 10), -100.0)
        logits[np.arange(len(logits)), np.arange(len(logits)) % num_classes] = 100.0
        assert mnist_score(logits) == pytest.approx(num_classes)


def test_a_missing_class_is_counted_and_named_by_every_class_metric():
    logits = np.zeros((6, 10))
    logits[np.arange(6), [3, 3, 3, 7, 7, 0]] = 1
    histogram = class_histogram(logits)
    assert histogram.tolist() == [1, 0, 0, 3, 0, 0, 0, 2, 0, 0]
    found = class_metrics(histogram, np.full(10, 6))
    assert (found["num_missing_classes"], found["smallest_class"]) == (7, 0)
    assert class_examples(logits, num=2)[3] == [0, 1]


def test_class_kl_and_chi_square_have_their_textbook_values():
    generated, real = np.array([60, 40, *[0] * 8]), np.array([50, 50, *[0] * 8])
    found = class_metrics(generated, real)
    assert found["class_kl"] == pytest.approx(0.6 * np.log(1.2) + 0.4 * np.log(0.8))
    assert found["class_chi_square"] == pytest.approx(2 * 5**2 / 55 + 2 * 5**2 / 45)


# Memorisation


def test_copies_are_memorised_and_other_draws_are_not(rng: np.random.Generator):
    train, fresh = rng.standard_normal((2, 600, 4))
    own = np.sqrt(Neighbourhood.of(train, k=1).nearest[:, 0])
    copies = nearest_training(train[:100] + 1e-3, train)
    assert copies.indices.tolist() == list(range(100))
    assert memorised_fraction(copies, own) > 0.95
    assert 0.3 < memorised_fraction(nearest_training(fresh, train), own) < 0.7


def test_the_samples_shown_are_those_nearest_to_a_training_image_for_its_surroundings():
    nearest = NearestTraining(np.array([0, 1, 0]), np.array([1.0, 1.0, 4.0]))
    shown = closest_to_training(nearest, np.array([2.0, 8.0]))
    assert [pair["sample"] for pair in shown] == [1, 0, 2]
    assert shown[0] == {"sample": 1, "training_image": 1, "distance": 1.0, "own_distance": 8.0}


def test_repeated_samples_are_duplicates_and_the_threshold_is_the_first_percentile_of_real_ones():
    real = np.arange(1.0, 1001.0)
    assert duplicate_fraction(real, real) == 0.01
    assert duplicate_fraction(np.array([0.0, 0.0, 500.0, 900.0]), real) == 0.5


def test_copying_moves_the_statistic_below_zero_and_underfitting_above(rng: np.random.Generator):
    centres = np.array([[-3.0, 0.0], [3.0, 0.0]])
    draws = [centre + rng.standard_normal((3, 200, 2)) for centre in centres]
    train, test, fresh = (np.concatenate(parts) for parts in zip(*draws, strict=True))

    def statistic(samples: np.ndarray) -> float:
        nearest = [nearest_training(points, train).distances for points in (samples, test)]
        tested = {"test_features": test, "test_distances": nearest[1], "centres": centres}
        return copying_statistic(samples, nearest[0], **tested)

    assert statistic(train + 0.01) < -10
    assert abs(statistic(fresh)) < 3
    assert statistic(fresh * [1, 4]) > 5


# Latents, and what the discriminator has learnt


def test_slerp_starts_and_ends_at_its_latents_and_keeps_their_length(rng: np.random.Generator):
    start, end = rng.standard_normal((2, 5, 20)).astype(np.float32)
    np.testing.assert_allclose(slerp(start, end, np.zeros(5)), start, atol=1e-6)
    np.testing.assert_allclose(slerp(start, end, np.ones(5)), end, atol=1e-6)
    half = slerp(start, end, np.full(5, 0.5))
    lengths = (np.linalg.norm(start, axis=1) + np.linalg.norm(end, axis=1)) / 2
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), lengths, rtol=1e-5)
    assert half.dtype == np.float32


def test_slerp_of_latents_of_one_dimension_is_a_straight_line():
    np.testing.assert_allclose(slerp(np.ones((1, 1)), np.full((1, 1), 3.0), np.array([0.5])), [[2.0]])
    assert np.isfinite(slerp(np.ones((1, 1)), -np.ones((1, 1)), np.array([0.5]))).all()


def test_path_length_is_the_squared_speed_of_the_image():
    """An image that shows the angle of a two-dimensional latent: its speed is the angle between the two ends."""

    def turned(latents: np.ndarray) -> np.ndarray:
        directions = latents / np.linalg.norm(latents, axis=1, keepdims=True)
        return directions[:, :, None].astype(np.float64)

    # Of random pairs the angle is uniform in [0, pi]: its square has the mean pi^2 / 3.
    assert path_length(turned, seed=0, draw=0, latent_dim=2) == pytest.approx(np.pi**2 / 3, rel=0.1)
    assert path_length(lambda latents: np.zeros((len(latents), 2, 2)), seed=0, draw=0, latent_dim=2) == 0
    twice = path_length(lambda latents: 2 * turned(latents), seed=0, draw=0, latent_dim=2)
    assert twice == pytest.approx(4 * path_length(turned, seed=0, draw=0, latent_dim=2), rel=1e-4)


def test_pooling_takes_the_maximum_of_each_cell_of_a_grid_of_four(rng: np.random.Generator):
    maps = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    expected = maps.reshape(2, 3, 4, 2, 4, 2).max(axis=(3, 5)).reshape(2, -1)  # 4 by 4 cells of 2 by 2
    np.testing.assert_array_equal(pooled([maps]), expected)
    small = rng.standard_normal((2, 5, 3, 3)).astype(np.float32)
    assert pooled([maps, small]).shape == (2, 3 * 16 + 5 * 9)


def test_a_linear_classifier_separates_what_can_be_separated(rng: np.random.Generator):
    labels = np.arange(300) % 3
    features = 3 * np.eye(3)[labels] + 0.1 * rng.standard_normal((300, 3))
    assert linear_accuracy(features[:200], labels[:200], features[200:], labels[200:]) == 1
    shuffled = rng.permutation(labels)
    assert linear_accuracy(features[:200], shuffled[:200], features[200:], shuffled[200:]) < 0.6


def test_votes_of_pairs_of_classes_are_those_of_libsvm(rng: np.random.Generator):
    labels = np.arange(300) % 5
    features = (np.eye(5, 40)[labels] + rng.standard_normal((300, 40))).astype(np.float32)
    train, test = features[:200], features[200:]
    products = discriminator_features._products(train)
    np.testing.assert_allclose(products, train @ train.T, atol=1e-5)
    np.testing.assert_array_equal(products, products.T)
    classifier = discriminator_features._fit(products, labels[:200], 1.0)
    expected = classifier.predict((test @ train.T).astype(np.float64))
    assert (expected != labels[200:]).any()  # some are hard
    np.testing.assert_array_equal(discriminator_features._predict(classifier, train, test), expected)


def test_what_recurs_is_kept_until_a_feature_or_a_label_changes(mnist_1100: Dataset, tmp_path, monkeypatch):
    fits = []

    def accuracy(*arrays: np.ndarray) -> float:
        fits.append(arrays)
        return 0.5

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(discriminator_features, "linear_accuracy", accuracy)

    def num_fits(dataset: Dataset, *, shift: float = 0.0, recurring: tuple[str, ...] = ("other",)) -> int:
        fits.clear()

        def maps(images: np.ndarray) -> list[np.ndarray]:
            return [images[:, None, :4, 8:12].astype(np.float32) + 1 + shift * (images[:, None, :4, 8:12] > 0)]

        linear_accuracies({"other": maps}, dataset, threads=1, recurring=recurring)
        return len(fits)

    assert num_fits(mnist_1100) == 2  # of the pixels, and of the other
    assert num_fits(mnist_1100) == 0
    assert num_fits(mnist_1100, recurring=()) == 1
    assert num_fits(mnist_1100, shift=1.0) == 1
    assert num_fits(replace(mnist_1100, train_labels=mnist_1100.train_labels[::-1].copy())) == 2


def test_features_are_judged_by_number_of_labels_beside_raw_pixels(mnist_1100: Dataset):
    def dark(images: np.ndarray) -> list[np.ndarray]:
        return [np.zeros((len(images), 2, 8, 8), np.float32)]

    def itself(images: np.ndarray) -> list[np.ndarray]:
        return [images[:, None].astype(np.float32)]

    found = linear_accuracies({"dark": dark, "itself": itself}, mnist_1100, threads=1)
    assert found["labels"] == [1000]
    accuracy = found["accuracy"]
    assert accuracy.keys() == {"dark", "itself", "pixels"}
    assert accuracy["dark"][0] < 0.3
    assert accuracy["pixels"][0] > 0.7
    assert 0.5 < accuracy["itself"][0] < accuracy["pixels"][0]  # the maxima of a 4 x 4 grid know less


@pytest.fixture
def mnist_1100() -> Dataset:
    from common.data.datasets import load_dataset

    full = load_dataset()
    return Dataset(
        "mnist", full.train_images[:1100], full.train_labels[:1100], full.test_images[:300], full.test_labels[:300]
    )
