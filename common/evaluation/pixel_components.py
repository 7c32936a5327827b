"""Features of any images without a network: principal components of their pixels."""

import hashlib
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from sklearn.decomposition import PCA

from common.data.datasets import resize_images
from common.data.randomness import stream
from common.evaluation.training_digits import NUM_COMPONENTS

MAX_SIDE = 32  # px: 64 components are coarse, and larger images would only take time
MAX_FITTED = 10_000
BATCH_SIZE = 1_000
OF_PIXELS = "principal components of the pixels"


class FeatureSpace(Protocol):
    """Where images are compared: what makes their features, in words, and a hash of all that decides them."""

    @property
    def words(self) -> str: ...
    @property
    def sha256(self) -> str: ...

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Features (N, D) of uint8 images (N, S, S[, 3])."""
        ...

    def extract_real(self, images: np.ndarray) -> np.ndarray:
        """The same of images that every run on these data needs, kept where that takes long."""
        ...


@dataclass(frozen=True)
class PixelComponents:
    """A projection of the pixels, in [0, 1], on their directions of largest variance."""

    pca: PCA
    sha256: str

    @classmethod
    def fit(cls, images: np.ndarray, *, num_components: int = NUM_COMPONENTS) -> Self:
        """On at most 10,000 of the uint8 images (N, S, S[, 3])."""
        chosen = images[stream(0, "evaluation/components").permutation(len(images))[:MAX_FITTED]]
        pixels = np.concatenate(list(map(_pixels, _batches(chosen))))
        num = min(num_components, len(pixels) // 2, pixels.shape[1])
        pca = PCA(num, svd_solver="randomized", random_state=0).fit(pixels)
        return cls(pca, hashlib.sha256(chosen.tobytes()).hexdigest())

    @property
    def words(self) -> str:
        """For the protocol."""
        return f"{self.pca.n_components_} {OF_PIXELS}"

    def extract(self, images: np.ndarray) -> np.ndarray:
        """float64 (N, D), not scaled to variance 1."""
        return np.concatenate([self.pca.transform(_pixels(batch)) for batch in _batches(images)]).astype(np.float64)

    extract_real = extract


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]


def _pixels(images: np.ndarray) -> np.ndarray:
    small = resize_images(images, MAX_SIDE) if images.shape[1] > MAX_SIDE else images
    return small.reshape(len(small), -1).astype(np.float32) / 255
