"""What the discriminator has learnt: a linear classifier on its convolutional features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from common.data.datasets import Dataset
from common.stages import in_stage

GRID_SIZE = 4
BATCH_SIZE = 500
NUM_LABELS = (1_000, 10_000)
MAX_TRIED_LABELS = 2_000
PENALTIES = (1.0, 10.0, 100.0)
Activations = Callable[[np.ndarray], Sequence[np.ndarray]]


def linear_accuracies(networks: Mapping[str, Activations], dataset: Dataset, *, threads: int) -> dict[str, Any]:
    """Test accuracy of a linear SVM on the features of each network, and on raw pixels, by number of labels.

    Radford et al. 2016, section 5.1: the activations of all convolutional layers, max-pooled to 4 x 4, as one vector.
    A network gives activations float32 (N, C, H, W) of uint8 images (N, S, S).
    """
    num = min(NUM_LABELS[-1], len(dataset.train_images))
    num_labels = [count for count in NUM_LABELS if count <= num]

    def accuracies(features_of: Callable[[np.ndarray], np.ndarray]) -> list[float]:
        train, test = features_of(dataset.train_images[:num]), features_of(dataset.test_images)
        # Penalties mean the same for every kind of feature. Those of a dead network are all 0.
        scale = np.linalg.norm(train, axis=1).mean() or 1.0
        train /= scale
        test /= scale
        return [
            linear_accuracy(train[:count], dataset.train_labels[:count], test, dataset.test_labels)
            for count in num_labels
        ]

    with threadpool_limits(threads):
        pixels = accuracies(lambda images: images.reshape(len(images), -1).astype(np.float32))
        judged = in_stage(networks.items(), "testing the discriminator's features", len(networks))
        found = {name: accuracies(lambda images, of=of: _features(images, of)) for name, of in judged}
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
    num_correct = 0
    for start in range(0, len(test), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        products = np.zeros((len(test[batch]), len(train)))
        # It looks at the products with its support vectors alone.
        products[:, classifier.support_] = test[batch] @ train[classifier.support_].T
        num_correct += np.sum(classifier.predict(products) == test_labels[batch])
    return float(num_correct / len(test))


def _products(features: np.ndarray) -> np.ndarray:
    """All (N, N) of them in float64, as libsvm wants them, without a second array of that size in float32."""
    products = np.empty((len(features), len(features)))
    for start in range(0, len(features), BATCH_SIZE):
        products[start : start + BATCH_SIZE] = features[start : start + BATCH_SIZE] @ features.T
    return products


def _fit(products: np.ndarray, labels: np.ndarray, penalty: float) -> SVC:
    return SVC(kernel="precomputed", C=penalty, cache_size=50).fit(products, labels)


def _features(images: np.ndarray, activations: Activations) -> np.ndarray:
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
    return np.concatenate([pooled(activations(batch)) for batch in batches])


def _max_pool(maps: np.ndarray) -> np.ndarray:
    if maps.ndim == 2 or max(maps.shape[2:]) <= GRID_SIZE:
        return maps
    height, width = maps.shape[2:]
    rows = np.linspace(0, height, GRID_SIZE + 1).astype(int)[:-1]
    columns = np.linspace(0, width, GRID_SIZE + 1).astype(int)[:-1]
    return np.maximum.reduceat(np.maximum.reduceat(maps, rows, axis=2), columns, axis=3)
