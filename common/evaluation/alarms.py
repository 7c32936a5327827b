"""Alarms: what makes scores worthless or unfair, each as one sentence with its number and that of real digits.

Every bar is taken from real digits that go through the same network, so that another network needs no other bars.
"""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from common.data.randomness import stream
from common.evaluation.classes import class_histogram, missing_classes
from common.evaluation.memorisation import DUPLICATE_QUANTILE, near_copies
from common.evaluation.metrics import Draw, Scores
from common.evaluation.plausibility import Alarm, percent, pixel_alarms
from common.evaluation.reference import Reference
from common.evaluation.samples import DIGIT_SIZE, some_of

REAL_QUANTILE = 0.99  # of real digits lie within this distance of another one
MAX_OUTSIDE = 25  # times as many as of real digits; the pretrained model has twelve times as many
MAX_TURNED = 0.3  # of real digits a twentieth, of turned ones more than half
NEARER, USUAL = 0.9, 1.25  # of the distance as they are, and of the usual distance of real digits
MAX_DUPLICATES = 10  # times as many as of real digits
MAX_NEAR_COPIES = 0.02  # more than of test digits
NUM_TURNED = 128  # samples that are turned and mirrored: seven times as many features
NUM_OUTSIDE = 1_000
WAYS = {
    "mirrored left to right": lambda images: images[:, :, ::-1],
    "mirrored top to bottom": lambda images: images[:, ::-1],
    "turned by 180 degrees": lambda images: images[:, ::-1, ::-1],
    "transposed (rows as columns)": lambda images: images.transpose(0, 2, 1),
    "turned by 90 degrees": lambda images: np.rot90(images, 1, (1, 2)),
    "turned by 270 degrees": lambda images: np.rot90(images, 3, (1, 2)),
    "transposed along the other diagonal": lambda images: np.rot90(images, 2, (1, 2)).transpose(0, 2, 1),
}
# Of these the scores say nothing of digits. Collapse and memorisation are faults that metrics are there to compare.
NO_DIGIT_SET = {"no_contrast", "background", "size", "position", "copies_of_reference", "turned", "no_digits"}


def alarms_about(draw: Draw, scores: Scores, reference: Reference) -> list[Alarm]:
    """Whatever sets the alarm off in one draw; of real digits nothing does, unless they are copies."""
    was_cropped = reference.sample_size != DIGIT_SIZE and not reference.is_resized
    found = pixel_alarms(draw.digits, reference.images, was_cropped=was_cropped)
    found += [_turned(draw, reference), _outside(draw, reference), _missing(draw, reference)]
    is_repeated = any(alarm and alarm.name == "repeated" for alarm in found)
    found += [None if is_repeated else _duplicates(scores), _near_copies(scores, reference)]
    return [alarm for alarm in found if alarm is not None]


class _Reach(NamedTuple):
    """How far real digits are from the reference: `usual` for half of them, `most` for REAL_QUANTILE of them."""

    usual: float
    most: float


def _reach(reference: Reference) -> _Reach:
    distances = np.sqrt(reference.neighbourhood.nearest[:, 0])
    return _Reach(float(np.median(distances)), float(np.quantile(distances, REAL_QUANTILE)))


def _distances(features: np.ndarray, reference: Reference) -> np.ndarray:
    return pairwise_distances_argmin_min(features.astype(np.float64), reference.features.astype(np.float64))[1]


def _outside(draw: Draw, reference: Reference) -> Alarm | None:
    """A sample looks like no real digit if it is farther from each than REAL_QUANTILE of real digits are."""
    floor = 1 - REAL_QUANTILE
    value = float(np.mean(_distances(some_of(draw.features, NUM_OUTSIDE), reference) > _reach(reference).most))
    if value <= MAX_OUTSIDE * floor:
        return None
    sentence = (
        f"{percent(value)} of the samples look like no real digit (real digits: {percent(floor)}): they are no digits, "
        "or not prepared like MNIST"
    )
    return Alarm("no_digits", sentence, value, floor)


def _turned(draw: Draw, reference: Reference) -> Alarm | None:
    shares = _share_nearer(some_of(draw.digits, NUM_TURNED), reference)
    way = max(shares, key=lambda name: shares[name])
    if shares[way] <= MAX_TURNED:
        return None
    # Of the split that is not compared with, for a digit would be its own neighbour.
    mnist = reference.mnist
    others = mnist.train_images if reference.split == "test" else mnist.test_images
    chosen = stream(0, "evaluation/turned").choice(len(others), NUM_TURNED, replace=False)
    floor = _share_nearer(reference.round_trip(others[chosen]), reference, ways=[way])[way]
    sentence = (
        f"{percent(shares[way])} of the samples look like real digits only when {way} (real digits: "
        f"{percent(floor)}): the images were turned or mirrored"
    )
    return Alarm("turned", sentence, shares[way], floor)


def _share_nearer(digits: np.ndarray, reference: Reference, *, ways: list[str] | None = None) -> dict[str, float]:
    """By way of turning: the share of digits that it brings from an unusual distance to real digits to a usual one."""
    limit = USUAL * _reach(reference).usual
    chosen = list(WAYS) if ways is None else ways
    sets = np.concatenate([digits, *(WAYS[name](digits) for name in chosen)])
    as_they_are, *turned = _distances(reference.network.extract(sets).features, reference).reshape(-1, len(digits))
    return {
        name: float(np.mean((distances < limit) & (distances < NEARER * as_they_are)))
        for name, distances in zip(chosen, turned, strict=True)
    }


def _missing(draw: Draw, reference: Reference) -> Alarm | None:
    digits = missing_classes(class_histogram(draw.logits), class_histogram(reference.logits))
    if not len(digits):
        return None
    names = ", ".join(map(str, digits))
    sentence = (
        f"{len(digits)} of the ten digits all but missing ({names}): of each, less than a tenth of what real digits "
        "have (real digits: none missing)"
    )
    return Alarm("missing_classes", sentence, float(len(digits)), 0.0)


def _duplicates(scores: Scores) -> Alarm | None:
    value = scores.values.get("duplicate_fraction", 0.0)
    if value <= MAX_DUPLICATES * DUPLICATE_QUANTILE:
        return None
    sentence = (
        f"{percent(value)} of the samples have another one nearly equal to them (real digits: "
        f"{percent(DUPLICATE_QUANTILE)}): few images, over and over"
    )
    return Alarm("duplicates", sentence, value, DUPLICATE_QUANTILE)


def _near_copies(scores: Scores, reference: Reference) -> Alarm | None:
    if scores.nearest is None:
        return None
    own = reference.training_digits.statistics.distances
    value, floor = near_copies(scores.nearest, own), near_copies(reference.test_nearest, own)
    if value <= floor + MAX_NEAR_COPIES:
        return None
    sentence = (
        f"{percent(value)} of the samples are nearly a training digit (real test digits: {percent(floor)}): "
        "they are copies"
    )
    return Alarm("memorised", sentence, value, floor)
