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


def _grey_levels(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _ones(mnist: Dataset, num: int) -> np.ndarray:
    """The most frequent class, over again where it does not suffice."""
    ones = mnist.train_images[mnist.train_labels == 1]
    return ones[np.arange(num) % len(ones)]


def _blurred(images: np.ndarray, pixels: float) -> np.ndarray:
    return gaussian_filter(images, sigma=(0, pixels, pixels))


def _salted(digits: np.ndarray) -> np.ndarray:
    is_salt = stream(0, "evaluation/salt").random(digits.shape, dtype=np.float32) < SALTED
    return np.where(is_salt, np.uint8(255), digits)


def _noisy(digits: np.ndarray) -> np.ndarray:
    noise = stream(0, "evaluation/faint_noise").standard_normal(digits.shape, dtype=np.float32)
    return _grey_levels(digits + 255 * FAINT_NOISE * noise)


def _turned(digits: np.ndarray) -> np.ndarray:
    return _grey_levels(rotate(digits.astype(np.float32), TURNED_DEGREES, axes=(1, 2), reshape=False, order=1))


Cases = dict[str, Callable[[Dataset, int], np.ndarray]]
NOISE = "uniform noise"
BAD_SETS: Cases = {
    NOISE: lambda mnist, num: stream(0, "evaluation/noise").integers(
        0, 256, (num, *mnist.train_images.shape[1:]), dtype=np.uint8
    ),
    "one class only": _ones,
    "blurred digits": lambda mnist, num: _blurred(mnist.train_images[:num], BLUR_PIXELS),
    "1,000 memorised digits": lambda mnist, num: mnist.train_images[np.arange(num) % NUM_MEMORISED],
}
# Real digits that a person still reads without effort: a generator's broken ones must score worse.
FAINT_FAULTS: Cases = {
    "turned by 10 degrees": lambda mnist, num: _turned(mnist.train_images[:num]),
    "shifted by 1 px": lambda mnist, num: np.roll(mnist.train_images[:num], 1, axis=2),
    "binarised": lambda mnist, num: np.where(mnist.train_images[:num] >= 128, np.uint8(255), np.uint8(0)),
    "1 % of pixels white": lambda mnist, num: _salted(mnist.train_images[:num]),
    "5 % noise": lambda mnist, num: _noisy(mnist.train_images[:num]),
    "blurred by 0.5 px": lambda mnist, num: _blurred(mnist.train_images[:num], FAINT_BLUR_PIXELS),
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
