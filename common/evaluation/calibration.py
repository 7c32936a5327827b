"""Calibration: what bad samples score, so that a number can be placed between them and the floor."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from common.data.datasets import Dataset
from common.data.randomness import stream
from common.evaluation.feature_network import committed_sha256
from common.evaluation.metrics import all_scores, make_draw
from common.evaluation.reference import Reference
from common.evaluation.stored import shipped

NAME = "calibration.json"
BLUR_PIXELS = 1.5
NUM_MEMORISED = 1_000


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


CASES: dict[str, Callable[[Dataset, int], np.ndarray]] = {
    "uniform noise": uniform_noise,
    "blurred digits": blurred_digits,
    "one class only": one_class_only,
    "1,000 memorised digits": memorised_digits,
}


def stored_calibration() -> dict[str, dict[str, float]]:
    """Case to metric to value under the standard protocol; UserError if they are not the committed ones."""
    content = shipped(NAME, committed_sha256())
    return json.loads(content)["rows"] if content is not None else {}


def compute_calibration(reference: Reference) -> dict[str, Any]:
    """Every metric of every case."""
    rows = {}
    for name, make in CASES.items():
        draw = make_draw(reference.round_trip(make(reference.mnist, reference.num_images)), reference)
        rows[name] = all_scores(draw, reference).values
    return {"network_sha256": reference.network.sha256, "rows": rows}
