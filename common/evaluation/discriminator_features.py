"""What the discriminator has learnt: a linear classifier on its convolutional features."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from common.data.datasets import Dataset
from common.evaluation.training_digits import load_array
from common.stages import in_stage

GRID_SIZE = 4
BATCH_SIZE = 500
NUM_LABELS = (1_000, 10_000)
MAX_TRIED_LABELS = 2_000
PENALTIES = (1.0, 10.0, 100.0)
Activations = Callable[[np.ndarray], Sequence[np.ndarray]]


def linear_accuracies(
    networks: Mapping[str, Activations], dataset: Dataset, *, threads: int, recurring: Collection[str] = ()
) -> dict[str, Any]:
    """Test accuracy of a linear SVM on the features of each network, and on raw pixels, by number of labels.

    Radford et al. 2016, section 5.1: the activations of all convolutional layers, max-pooled to 4 x 4, as one vector.
    A network gives activations float32 (N, C, H, W) of uint8 images (N, S, S). What is found of pixels and of the
    recurring networks is kept for the next run with the same features.
    """
    num = min(NUM_LABELS[-1], len(dataset.train_images))
    num_labels = [count for count in NUM_LABELS if count <= num]

    def accuracies(features_of: Callable[[np.ndarray], np.ndarray], *, recurs: bool) -> list[float]:
        train, test = features_of(dataset.train_images[:num]), features_of(dataset.test_images)
        # Penalties mean the same for every kind of feature. Those of a dead network are all 0.
        scale = np.linalg.norm(train, axis=1).mean() or 1.0
        train /= scale
        test /= scale

        def compute() -> np.ndarray:
            labels, test_labels = dataset.train_labels, dataset.test_labels
            return np.array([linear_accuracy(train[:n], labels[:n], test, test_labels) for n in num_labels])

        if not recurs:
            return compute().tolist()
        digest = hashlib.sha256()
        for array in (train, dataset.train_labels[:num], test, dataset.test_labels):
            digest.update(array.data)
        return load_array("linear_accuracies.npy", digest.hexdigest(), compute=compute).tolist()

    with threadpool_limits(threads):
        pixels = accuracies(lambda images: images.reshape(len(images), -1).astype(np.float32), recurs=True)
        judged = in_stage(networks.items(), "testing the discriminator's features", len(networks))
        found = {
            name: accuracies(lambda images, of=of: _features(images, of), recurs=name in recurring)
            for name, of in judged
        }
    return {"labels": num_labels, "accuracy": {**found, "pixels": pixels}}


def pooled(activations: Sequence[np.ndarray]) -> np.ndarray:
    """Maxima over a 4 x 4 grid (the whole map where it is smaller), all maps (N, C, H, W) as one vector (N, F)."""
    return np.concatenate([_max_pool(maps).reshape(len(maps), -1) for maps in activations], axis=1)


def linear_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Of an L2-regularised linear SVM (one against one); its penalty is chosen on a fifth of at most 2,000 labels.

    Features are (N, F) with F up to thousands, so it is solved in the dual, from the products of the features.
    """
    tried = slice(0, min(len(train), MAX_TRIED_LABELS))
    fitted, held_out = slice(0, tried.stop * 4 // 5), slice(tried.stop * 4 // 5, tried.stop)
    products = train[tried] @ train[fitted].T
    scores = [
        _fit(products[fitted], train_labels[fitted], penalty).score(products[held_out], train_labels[held_out])
        for penalty in PENALTIES
    ]
    classifier = _fit(_products(train), train_labels, PENALTIES[int(np.argmax(scores))])
    return float(np.mean(_predict(classifier, train, test) == test_labels))


def _products(features: np.ndarray) -> np.ndarray:
    """All (N, N) of them in float64, as libsvm wants them, each pair once."""
    products = np.empty((len(features), len(features)))
    for start in range(0, len(features), BATCH_SIZE):
        rows, later = slice(start, start + BATCH_SIZE), slice(start + BATCH_SIZE, None)
        products[rows, start:] = features[rows] @ features[start:].T
        products[later, rows] = products[rows, later].T
    return products


def _fit(products: np.ndarray, labels: np.ndarray, penalty: float) -> SVC:
    return SVC(kernel="precomputed", C=penalty, cache_size=50).fit(products, labels)


def _predict(classifier: SVC, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Of three classes or more, as libsvm does: one vote a pair of classes, of several winners the first.

    Each pair's weights are put together from its support vectors first. libsvm would need the products with all of
    these.
    """
    classes = classifier.classes_
    assert len(classes) > 2  # of two, scikit-learn turns the signs around
    support, ends = train[classifier.support_], np.cumsum(classifier.n_support_)
    of_class = [slice(end - num, end) for num, end in zip(classifier.n_support_, ends, strict=True)]
    pairs = list(itertools.combinations(range(len(classes)), 2))
    coefficients = np.zeros((len(pairs), len(support)), train.dtype)
    for row, (first, second) in zip(coefficients, pairs, strict=True):
        row[of_class[first]] = classifier.dual_coef_[second - 1, of_class[first]]
        row[of_class[second]] = classifier.dual_coef_[first, of_class[second]]
    decisions = test @ (coefficients @ support).T + classifier.intercept_
    votes = np.zeros((len(test), len(classes)), np.int64)
    for is_first, (first, second) in zip((decisions > 0).T, pairs, strict=True):
        votes[:, first] += is_first
        votes[:, second] += ~is_first
    return classes[votes.argmax(axis=1)]


def _features(images: np.ndarray, activations: Activations) -> np.ndarray:
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
    return np.concatenate([pooled(activations(batch)) for batch in batches])


def _max_pool(maps: np.ndarray) -> np.ndarray:
    if maps.ndim == 2 or max(maps.shape[2:]) <= GRID_SIZE:
        return maps
    return _maxima(_maxima(maps, axis=2), axis=3)


def _maxima(maps: np.ndarray, *, axis: int) -> np.ndarray:
    """Of each cell along one axis, line by line: `maximum.reduceat` takes several times as long."""
    lines = np.moveaxis(maps, axis, 0)
    edges = np.linspace(0, len(lines), GRID_SIZE + 1).astype(int)
    # An axis shorter than the grid has empty cells, each with the line it begins at.
    cells = [lines[start : max(stop, start + 1)] for start, stop in itertools.pairwise(edges)]
    return np.stack([functools.reduce(np.maximum, cell) for cell in cells], axis=axis)
