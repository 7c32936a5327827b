"""What the evaluator knows of the training digits: features, how far apart they are, clusters, principal components."""

import hashlib
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from common.evaluation.feature_network import FeatureNetwork
from common.evaluation.stored import cached, load_or_compute

NUM_CELLS = 3  # Meehan et al. 2020, section 6: k = 3 on MNIST
NUM_COMPONENTS = 64


class Statistics(NamedTuple):
    """Of the 60,000 training digits, float32: half a minute to compute."""

    distances: np.ndarray  # (60000,): of each to its nearest other, in features
    centres: np.ndarray  # (NUM_CELLS, 128): k-means of the features
    pixel_mean: np.ndarray  # (784,)
    pixel_components: np.ndarray  # (784, NUM_COMPONENTS)


class TrainingDigits(NamedTuple):
    """Features (60000, 128) of the training digits, and their statistics."""

    features: np.ndarray
    statistics: Statistics

    def components(self, images: np.ndarray) -> np.ndarray:
        """Principal components (N, NUM_COMPONENTS) of uint8 images (N, 28, 28) in [0, 1], not scaled to variance 1."""
        pixels = images.reshape(len(images), -1).astype(np.float64) / 255
        return (pixels - self.statistics.pixel_mean) @ self.statistics.pixel_components.astype(np.float64)


def statistics_name(image_size: int) -> str:
    """The file that holds the statistics of digits that went through this size."""
    return f"training_digits_{image_size}.npz"


def load_training_digits(images: np.ndarray, network: FeatureNetwork, *, image_size: int) -> TrainingDigits:
    """Of the training images, uint8 (60000, 28, 28), that went through `image_size`."""
    features = load_features(images, network)
    statistics = load_or_compute(
        statistics_name(image_size),
        network,
        compute=lambda: encode(compute_statistics(images, features)),
        decode=decode,
    )
    return TrainingDigits(features, statistics)


def load_features(images: np.ndarray, network: FeatureNetwork) -> np.ndarray:
    """Features (N, D) of uint8 images that many runs need: kept for this network and these very images."""
    digest = hashlib.sha256(network.sha256.encode() + images.tobytes()).hexdigest()
    return load_array("features.npy", digest, compute=lambda: network.extract(images).features)


def load_array(name: str, key: str, *, compute: Callable[[], np.ndarray], is_long: bool = False) -> np.ndarray:
    """An array that takes seconds to compute, or long, from the cache if `key` has been computed before."""

    def encode_array() -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, compute(), allow_pickle=False)
        return buffer.getvalue()

    return cached(name, key, compute=encode_array, decode=decode_array, is_long=is_long)


def decode_array(content: bytes) -> np.ndarray:
    """The array of a .npy file; ValueError for other bytes."""
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, EOFError) as error:
        raise ValueError(str(error)) from None


def compute_statistics(images: np.ndarray, features: np.ndarray) -> Statistics:
    """From uint8 images (N, 28, 28) and their features (N, D)."""
    pixels = images.reshape(len(images), -1).astype(np.float64) / 255
    _, vectors = np.linalg.eigh(np.cov(pixels, rowvar=False))
    components = vectors[:, : -NUM_COMPONENTS - 1 : -1]
    features = features.astype(np.float64)
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(features)
    clusters = KMeans(NUM_CELLS, random_state=0).fit(features)
    return Statistics(
        distances=neighbours.kneighbors()[0][:, 0].astype(np.float32),  # no argument: a digit is not its own
        centres=clusters.cluster_centers_.astype(np.float32),
        pixel_mean=pixels.mean(axis=0).astype(np.float32),
        pixel_components=components.astype(np.float32),
    )


def encode(statistics: Statistics) -> bytes:
    """As the bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **statistics._asdict())
    return buffer.getvalue()


def decode(content: bytes) -> Statistics:
    """Statistics from what `encode` made of them; ValueError or KeyError for other bytes."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Statistics(**{name: arrays[name] for name in Statistics._fields})
    except (OSError, EOFError) as error:
        raise ValueError(str(error)) from None
