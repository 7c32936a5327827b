"""What every reader of images returns: a training and a test split, and one sentence on how they were made."""

from typing import NamedTuple

import numpy as np

from common.data.randomness import stream
from common.errors import UserError

NO_LABEL = -1
HELD_OUT = 10  # one in so many


class Split(NamedTuple):
    """Images uint8 (N, S, S) or (N, S, S, 3), and labels int64 (N,), -1 where an image has none."""

    images: np.ndarray
    labels: np.ndarray


class Loaded(NamedTuple):
    """Both splits; `made` is a sentence's part, like "500 PNG files, RGB"."""

    train: Split
    test: Split
    made: str


def hold_out(whole: Split, where: object, made: str) -> Loaded:
    """A tenth of the images, at least one, becomes the test split: the same tenth whatever a run's seed is."""
    if len(whole.images) < 2:
        raise UserError(f"{where} holds {len(whole.images)} image: training needs at least 2, and should have hundreds")
    order = stream(0, "held_out").permutation(len(whole.images))
    num_test = max(1, len(order) // HELD_OUT)
    is_test = np.zeros(len(order), bool)
    is_test[order[:num_test]] = True
    train, test = (Split(whole.images[chosen], whole.labels[chosen]) for chosen in (~is_test, is_test))
    return Loaded(train, test, f"{made}; {num_test:,} of them held out for testing")
