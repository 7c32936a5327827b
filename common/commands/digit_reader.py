"""What the classifier of MNIST digits reads in a model's images, and latents whose images it reads clearly."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from common.commands.trained_model import Model
from common.config import TrainConfig
from common.data.randomness import fixed_latents
from common.errors import UserError
from common.evaluation.feature_network import load_feature_network
from common.evaluation.samples import digit_images
from common.networks.layers import Architecture
from common.safe_read import one_line
from common.training.generate import generate_images

NUM_DIGITS = 10
NUM_CANDIDATES = 2_000  # 200 of each digit
CLEAR = 0.9


class Reading(NamedTuple):
    """The digit that the classifier finds most probable, and how probable."""

    digit: int
    probability: float

    def __str__(self) -> str:
        return f"{self.digit} ({self.probability:.0%})".replace("%", " %")


class DigitReader:
    """A model's generator and the classifier, one after the other."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.network = load_feature_network()

    def draw(self, latents: np.ndarray) -> np.ndarray:
        """The images of latents (N, Z): uint8 (N, S, S)."""
        return generate_images(self.model.trainer, latents)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of each digit in each image: float64 (N, 10)."""
        return softmax(self.network.extract(digit_images(images)).logits.astype(np.float64), axis=1)

    def read(self, images: np.ndarray) -> list[Reading]:
        """What each image shows."""
        probabilities = self.probabilities(images)
        return [Reading(int(row.argmax()), float(row.max())) for row in probabilities]

    def clearest(self, digits: set[int], *, num: int, seed: int, most: int = 0) -> dict[int, np.ndarray]:
        """For each digit the `num` candidates (num, Z) in which it is most probable; UserError if fewer are clear.

        If more are clear, up to `most` are returned, the clearest first. The candidates are the seed's first latents:
        the ones that `sample --seed` shows.
        """
        candidates = fixed_latents(seed, num=NUM_CANDIDATES, latent_dim=self.model.config.latent_dim)
        probabilities = self.probabilities(self.draw(candidates))
        found = {}
        for digit in sorted(digits):
            order = np.argsort(-probabilities[:, digit], kind="stable")
            num_clear = int((probabilities[:, digit] >= CLEAR).sum())
            if num_clear < num:
                raise UserError(
                    f"of {NUM_CANDIDATES:,} samples {num_clear or 'none'} {'is' if num_clear < 2 else 'are'} clearly "
                    f"a {digit} to the classifier, {num} needed: choose another digit, --seed or a model trained longer"
                )
            found[digit] = candidates[order[: max(num, min(num_clear, most))]]
        return found


def check_digit(name: str, digit: int) -> None:
    """Raise UserError for a digit there is none of."""
    if not 0 <= digit < NUM_DIGITS:
        raise UserError(f"{name} is {digit}: choose a digit, 0 to 9")


def check_digits_model(config: TrainConfig, architecture: Architecture) -> None:
    """Raise UserError for a model whose images the classifier cannot read."""
    what = "colours" if architecture.image_channels != 1 else one_line(config.dataset)
    if what != "mnist":
        raise UserError(f"the model makes {what}, but the classifier reads MNIST digits only: use `sample` instead")
