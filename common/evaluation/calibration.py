"""Calibration: what bad samples and faintly damaged digits score, so that a number finds its place between them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, rotate

from common.data.datasets import Dataset
from common.data.randomness import stream
from common.evaluation.feature_network import committed_sha256
from common.evaluation.metrics import all_scores, make_draw
from common.evaluation.reference import Reference
from common.evaluation.stored import shipped
from common.stages import in_stage

NAME = "calibration.json"
BLUR_PIXELS = 1.5
NUM_MEMORISED = 1_000
FAINT_BLUR_PIXELS = 0.5
FAINT_NOISE = 0.05  # standard deviation, of white
SALTED = 0.01  # of the pixels
TURNED_DEGREES = 10


def uniform_noise(mnist: Dataset, num: int) -> np.ndarray:
    """Every pixel independent."""
    return stream(0, "evaluation/noise").integers(0, 256, (num, *mnist.train_images.shape[1:]), dtype=np.uint8)


def blurred_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits under a Gaussian of 1.5 px."""
    return gaussian_filter(mnist.train_images[:num], sigma=(0, BLUR_PIXELS, BLUR_PIXELS))


def one_class_only(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits of class 1, the most frequent, over again where they do not suffice."""
    ones = mnist.train_images[mnist.train_labels == 1]
    return ones[np.arange(num) % len(ones)]


def memorised_digits(mnist: Dataset, num: int) -> np.ndarray:
    """The same 1,000 training digits over and over."""
    return mnist.train_images[np.arange(num) % NUM_MEMORISED]


def salted_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits with one pixel in a hundred white."""
    digits = mnist.train_images[:num]
    is_salt = stream(0, "evaluation/salt").random(digits.shape, dtype=np.float32) < SALTED
    return np.where(is_salt, np.uint8(255), digits)


def noisy_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits under Gaussian noise of 5 % of white."""
    digits = mnist.train_images[:num]
    noise = stream(0, "evaluation/faint_noise").standard_normal(digits.shape, dtype=np.float32)
    return _grey_levels(digits + 255 * FAINT_NOISE * noise)


def shifted_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits, all one pixel to the right."""
    return np.roll(mnist.train_images[:num], 1, axis=2)


def turned_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits, all turned by 10 degrees the same way."""
    digits = mnist.train_images[:num].astype(np.float32)
    return _grey_levels(rotate(digits, TURNED_DEGREES, axes=(1, 2), reshape=False, order=1))


def binarised_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits in black and white."""
    return np.where(mnist.train_images[:num] >= 128, np.uint8(255), np.uint8(0))


def softened_digits(mnist: Dataset, num: int) -> np.ndarray:
    """Training digits under a Gaussian of 0.5 px."""
    return gaussian_filter(mnist.train_images[:num], sigma=(0, FAINT_BLUR_PIXELS, FAINT_BLUR_PIXELS))


def _grey_levels(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


Cases = dict[str, Callable[[Dataset, int], np.ndarray]]
BAD_SETS: Cases = {
    "uniform noise": uniform_noise,
    "one class only": one_class_only,
    "blurred digits": blurred_digits,
    "1,000 memorised digits": memorised_digits,
}
# Real digits that a person still reads without effort: a generator's broken ones must score worse.
FAINT_FAULTS: Cases = {
    "turned by 10 degrees": turned_digits,
    "shifted by 1 px": shifted_digits,
    "binarised": binarised_digits,
    "1 % of pixels white": salted_digits,
    "5 % noise": noisy_digits,
    "blurred by 0.5 px": softened_digits,
}
CASES: Cases = BAD_SETS | FAINT_FAULTS
Row = Mapping[str, float | None]


def stored_calibration() -> dict[str, dict[str, float]]:
    """Case to metric to value under the standard protocol; UserError if they are not the committed ones."""
    content = shipped(NAME, committed_sha256())
    return json.loads(content)["rows"] if content is not None else {}


def in_order(rows: Mapping[str, Row]) -> dict[str, Row]:
    """The best first, by the Fréchet distance, so that a model stands between what is better and what is worse."""

    def distance(name: str) -> float:
        value = rows[name].get("frechet_distance")
        return np.inf if value is None else value

    return {name: rows[name] for name in sorted(rows, key=distance)}


def compute_calibration(reference: Reference) -> dict[str, Any]:
    """Every metric of every case."""
    rows = {}
    for name, make in in_stage(CASES.items(), "calibrating the metrics", len(CASES)):
        draw = make_draw(reference.round_trip(make(reference.mnist, reference.num_images)), reference)
        rows[name] = all_scores(draw, reference).values
    return {"network_sha256": reference.network.sha256, "rows": rows}
