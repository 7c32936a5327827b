"""What the report relies on in metrics.json; only scores, protocol and histogram must be there."""

from typing import Any

from comparison.record_schema import (
    Check,
    amount,
    dict_of,
    fields,
    flag,
    list_of,
    non_negative,
    or_none,
    text,
    whole,
)

NUM_CLASSES = 10
MAX_SHOWN = 10  # samples of a class, and pairs of a sample and a training digit
NUM_TRAINING_IMAGES = 60_000
NUM_LABEL_COUNTS = (1, 2)  # a small training set has no 10,000 labels


def share(value: Any) -> bool:
    """From 0 to 1."""
    return amount(value) and 0 <= value <= 1


def training_image(value: Any) -> bool:
    """An index into the training images of MNIST."""
    return whole(value) and value < NUM_TRAINING_IMAGES


def few(check: Check) -> Check:
    """A list of no more than a figure has room for."""
    return lambda value: list_of(check)(value) and len(value) <= MAX_SHOWN


def has_images(value: Any) -> bool:
    """Counts of the ten digits, not all of them 0."""
    return list_of(whole, length=NUM_CLASSES)(value) and sum(value) > 0


def discriminator_features(value: Any) -> bool:
    """Numbers of labels, and as many accuracies of each kind of feature."""
    if not fields({"labels": list_of(whole), "accuracy": fields(ACCURACIES)})(value):
        return False
    lengths = {len(value["labels"]), *(len(value["accuracy"][name]) for name in ACCURACIES)}
    return len(lengths) == 1 and lengths.pop() in NUM_LABEL_COUNTS


METRIC = fields(
    {"value": amount},
    dict.fromkeys(("spread", "floor", "floor_low", "floor_high", "standard_error"), or_none(amount)),
)
KID = fields({"num_subsets": whole, "subset_size": whole, "seed": whole})
NEIGHBOUR = fields(
    {"sample": whole, "training_image": training_image, "distance": non_negative, "own_distance": non_negative}
)
ACCURACIES: dict[str, Check] = dict.fromkeys(("discriminator", "untrained discriminator", "pixels"), list_of(share))
PROTOCOL = fields(
    {"num_generated": whole, "num_real": whole, "network_sha256": text},
    {
        "comparable": flag,
        "num_draws": whole,
        "reference": text,
        "floor": text,
        "image_size": whole,
        "num_features": whole,
        "k": whole,
        "kid": or_none(KID),
        "batch_norm": or_none(text),
        "weights": or_none(text),
        "checkpoint": or_none(text),
        "warnings": list_of(text),
    },
)
METRICS: dict[str, Check] = {
    "metrics": dict_of(METRIC),
    "protocol": PROTOCOL,
    "class_histogram": fields({"generated": has_images, "real": has_images}),
}
OPTIONAL_METRICS: dict[str, Check] = {
    "class_examples": list_of(few(whole), length=NUM_CLASSES),
    "nearest_neighbours": few(NEIGHBOUR),
    "discriminator_features": or_none(discriminator_features),
}
