"""The real digits that samples are compared with, and what is computed of them once for every draw."""

import hashlib
from functools import cached_property

import numpy as np

from common.data.datasets import Dataset
from common.data.randomness import stream
from common.evaluation.feature_network import FeatureNetwork
from common.evaluation.frechet import Gaussian
from common.evaluation.kernel_distance import RealKernel
from common.evaluation.memorisation import NearestTraining, nearest_training
from common.evaluation.neighbours import Neighbourhood
from common.evaluation.samples import DIGIT_SIZE, round_trip
from common.evaluation.training_digits import TrainingDigits, load_array, load_training_digits

BATCH_SIZE = 5_000
SEED = 0  # of subsets: the same for every model
K = 5  # nearest neighbours, as in the prdc paper


def shuffled_indices(mnist: Dataset, split: str) -> np.ndarray:
    """A seeded order of a split's digits."""
    num_digits = len(mnist.test_images if split == "test" else mnist.train_images)
    return stream(0, f"evaluation/order_{split}").permutation(num_digits)


class Reference:
    """N random digits of one split, brought through the size of the samples, as resizing is no fault."""

    def __init__(
        self,
        network: FeatureNetwork,
        mnist: Dataset,
        *,
        split: str,
        num_images: int,
        image_size: int,
        resized: bool = False,
    ) -> None:
        self.network = network
        self.mnist = mnist
        self.split = split
        self.num_images = num_images
        self.resized = resized
        self.sample_size = image_size
        some = mnist.test_images[:10]
        # A size that digits survive unchanged is as good as their own.
        self.image_size = (
            DIGIT_SIZE if np.array_equal(round_trip(some, image_size, resized=resized), some) else image_size
        )
        self.is_resized = self.image_size != DIGIT_SIZE
        # The files are not in random order: the first 2,000 test digits are another population than the rest.
        chosen = shuffled_indices(mnist, split)[:num_images]
        self.images = self.round_trip((mnist.test_images if split == "test" else mnist.train_images)[chosen])
        self.features, self.logits = network.extract(self.images)

    def round_trip(self, images: np.ndarray) -> np.ndarray:
        """Digits at the size of the samples and back."""
        parts = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]  # they can be large
        return np.concatenate([round_trip(part, self.image_size, resized=self.resized) for part in parts])

    @cached_property
    def kernel(self) -> RealKernel:
        """What the kernel distance of as many samples needs of the real digits."""
        return RealKernel(self.features, num_generated=self.num_images, seed=SEED)

    @cached_property
    def gaussian(self) -> Gaussian:
        """The Gaussian fitted to the real digits' features."""
        return Gaussian.of(self.features)

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        """Nearest neighbours among the real digits, by their features."""
        return Neighbourhood.of(self.features, k=K)

    @cached_property
    def training_digits(self) -> TrainingDigits:
        """All of them: for the screens against memorisation, and the principal components."""
        images = self.round_trip(self.mnist.train_images)
        return load_training_digits(images, self.network, image_size=self.image_size)

    @cached_property
    def test_features(self) -> np.ndarray:
        """Of all test digits, whatever the split: how near a digit that was not trained on comes to those that were."""
        return self.network.extract(self.round_trip(self.mnist.test_images)).features

    @cached_property
    def test_nearest(self) -> NearestTraining:
        """The training digit nearest to each test digit."""
        features, training = self.test_features, self.training_digits.features
        key = hashlib.sha256(features.tobytes() + training.tobytes()).hexdigest()
        found = load_array(
            "test_nearest.npy", key, compute=lambda: np.stack(nearest_training(features, training)).astype(np.float64)
        )
        return NearestTraining(found[0].astype(np.int64), found[1])

    @cached_property
    def pixel_gaussian(self) -> Gaussian:
        """Fitted to the principal components."""
        return Gaussian.of(self.training_digits.components(self.images))

    @cached_property
    def pixel_neighbourhood(self) -> Neighbourhood:
        """In the principal components."""
        return Neighbourhood.of(self.training_digits.components(self.images), k=K)
