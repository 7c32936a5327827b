"""Networks of two kinds put digits in the order of their quality: noise, the GAN's, faint faults, real ones."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.commands.trained_model import ModelOptions, open_model
from common.data.datasets import Dataset, load_dataset
from common.evaluation import digit_images, load_feature_network
from common.evaluation.calibration import BAD_SETS, FAINT_FAULTS, NOISE
from common.evaluation.frechet import Gaussian, frechet_distance
from common.evaluation.samples import NUM_STANDARD
from common.training.scoring import sample
from scripts.train_feature_network import NUM_FEATURES, Settings, soften, train
from torch_impl.__main__ import load_framework

pytestmark = pytest.mark.slow  # a network is trained, and 20 sets of 10,000 images go through one

Extract = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset("mnist")


class Perceptron(nn.Module):
    """A network of another kind, without convolutions, trained alike: it confirms what the first one says."""

    def __init__(self) -> None:
        super().__init__()
        hidden = (nn.Flatten(), nn.Linear(28 * 28, 256), nn.BatchNorm1d(256), nn.ReLU())
        self.body = nn.Sequential(*hidden, nn.Linear(256, NUM_FEATURES), nn.BatchNorm1d(NUM_FEATURES), nn.ReLU())
        self.classes = nn.Linear(NUM_FEATURES, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 128) and logits (N, 10) of images (N, 1, 28, 28) in [0, 1]."""
        features = self.body(soften(x))
        return features, self.classes(features)


def shipped(mnist: Dataset) -> Extract:
    network = load_feature_network()
    return lambda images: network.extract(images).features


def perceptron(mnist: Dataset) -> Extract:
    """Without convolutions, from another seed, trained as briefly as suffices: 98 % of the test digits."""
    torch.manual_seed(1)
    model = Perceptron()
    train(model, scaled(mnist.train_images), torch.tensor(mnist.train_labels), Settings(epochs=5))

    def extract(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(scaled(images))[0].numpy()

    return extract


def scaled(images: np.ndarray) -> torch.Tensor:
    return torch.tensor(images).float().div(255).unsqueeze(1)


@pytest.fixture(scope="module")
def sets(mnist: Dataset) -> dict[str, np.ndarray]:
    """The faults are those of the very digits called real."""
    model = open_model(ModelOptions(pretrained=True), load_framework)
    return {
        "noise": BAD_SETS[NOISE](mnist, NUM_STANDARD),
        "GAN": digit_images(sample(model.trainer, model.config).images),
        **{name: damage(mnist, NUM_STANDARD) for name, damage in FAINT_FAULTS.items()},
        "real": mnist.train_images[:NUM_STANDARD],
    }


@pytest.mark.parametrize("network", [shipped, perceptron])
def test_noise_is_worse_than_the_gan_which_is_worse_than_any_faint_fault_which_is_worse_than_real_digits(
    network: Callable[[Dataset], Extract], mnist: Dataset, sets: dict[str, np.ndarray]
):
    extract = network(mnist)
    reference = Gaussian.of(extract(mnist.test_images))
    distances = {name: frechet_distance(reference, Gaussian.of(extract(images))) for name, images in sets.items()}
    print({name: round(distance, 4) for name, distance in distances.items()})
    faint = [distances[name] for name in FAINT_FAULTS]
    assert distances["noise"] > distances["GAN"] > max(faint)
    assert min(faint) > distances["real"]
