"""What the report relies on in a run's records and in a certificate; any other field may hold anything."""

from collections.abc import Callable, Mapping
from typing import Any

from common.config import TrainConfig, to_dict
from common.safe_read import one_line

MAX_MAGNITUDE = 1e15  # of seconds, counts and scores; a quotient of two is finite
Check = Callable[[Any], bool]
LIMITED_TEXT = 10_000


def text(value: Any) -> bool:
    """A string of a length one can show."""
    return isinstance(value, str) and len(value) <= LIMITED_TEXT


def whole(value: Any) -> bool:
    """A count: 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_MAGNITUDE


def amount(value: Any) -> bool:
    """A number one can calculate with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_MAGNITUDE


def positive(value: Any) -> bool:
    """A number one can divide by."""
    return amount(value) and value >= 1 / MAX_MAGNITUDE


def non_negative(value: Any) -> bool:
    """An amount, 0 or more."""
    return amount(value) and value >= 0


def flag(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)


def one_of(*values: str) -> Check:
    """One of these words."""
    return lambda value: isinstance(value, str) and value in values


def or_none(check: Check) -> Check:
    """What the check takes, or null."""
    return lambda value: value is None or check(value)


def list_of(check: Check, *, length: int | None = None) -> Check:
    """A list, of this length if one is given."""
    return lambda value: isinstance(value, list) and length in (None, len(value)) and all(map(check, value))


def dict_of(check: Check) -> Check:
    """An object with any names."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object that has the required fields, and takes others."""
    return lambda value: isinstance(value, dict) and wrong_field(value, required, optional) is None


def wrong_field(
    value: Mapping[str, Any], required: Mapping[str, Check], optional: Mapping[str, Check] | None = None
) -> str | None:
    """The first field that is missing or not what it must be."""
    for name, check in {**required, **(optional or {})}.items():
        if name in value and not check(value[name]):
            return name
        if name not in value and name in required:
            return name
    return None


SPEED = fields({"median": positive, "low": positive, "high": positive})
CHUNK = fields({"step": whole, "num_steps": positive, "seconds": positive})
MEASUREMENT = fields(
    {
        "rung": whole,
        "kind": text,
        "name": text,
        "precision": one_of("float64", "float32"),
        "measured": or_none(non_negative),
        "tolerance": non_negative,
        "where": text,
        "holds": flag,
    }
)
ENVIRONMENT: dict[str, Check] = {
    "python": text,
    "device": text,
    "num_threads": whole,
    "num_cpus": whole,
    "memory_bytes": or_none(whole),
    "packages": dict_of(or_none(text)),
    "cpu_flags": list_of(text),
    "command": list_of(text),
    "num_parameters": dict_of(whole),
}
STATUS: dict[str, Check] = {"status": text, "message": text, "step": whole, "epoch": whole}
OPTIONAL_TIMING: dict[str, Check] = {
    "steady_images_per_second": or_none(SPEED),
    "seconds_per_epoch": or_none(non_negative),
    "first_chunk_seconds": or_none(non_negative),
    "chunk_size": or_none(whole),
    "chunks": list_of(CHUNK),
    "loop_overhead_fraction": or_none(amount),
    "peak_memory_bytes": or_none(whole),
    "import_seconds": or_none(non_negative),
    "data_loading_seconds": or_none(non_negative),
    "build_seconds": or_none(non_negative),
    "training_seconds": or_none(non_negative),
    "data_seconds": or_none(non_negative),
    "evaluation_seconds": or_none(non_negative),
    "generate_seconds": or_none(non_negative),
    "drawing_seconds": or_none(non_negative),
    "scoring_seconds": or_none(non_negative),
    "total_seconds": or_none(non_negative),
}
CERTIFICATE: dict[str, Check] = {"quick": flag, "rungs": list_of(MEASUREMENT)}
OPTIONAL_CERTIFICATE: dict[str, Check] = {
    "config": dict_of(lambda value: True),
    "num_parameters": dict_of(whole),
    "packages": or_none(dict_of(or_none(text))),
    "devices": or_none(dict_of(text)),
}


def check_config(config: Mapping[str, Any]) -> None:
    """Raise ValueError unless every field of a TrainConfig is there and valid; a newer run may have more."""
    names = to_dict(TrainConfig())
    TrainConfig.from_fields({name: value for name, value in config.items() if name in names})


def check_fields(
    record: Mapping[str, Any],
    name: str,
    required: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
) -> None:
    """Raise ValueError naming the first field that is missing or wrong."""
    wrong = wrong_field(record, required, optional)
    if wrong is not None:
        raise ValueError(f"{wrong} of {name} is {one_line(ascii(record.get(wrong, 'missing')))}")


def check_timing(timing: Mapping[str, Any]) -> None:
    """Raise ValueError unless chunks, their size and the speed taken from them agree on being there."""
    check_fields(timing, "timing.json", {}, OPTIONAL_TIMING)
    chunks = timing.get("chunks", [])
    if chunks and timing.get("chunk_size") is None:
        raise ValueError("timing.json has chunks of no size")
    if len(chunks) > 1 and timing.get("steady_images_per_second") is None:
        raise ValueError("timing.json has chunks, but no speed")


def check_certificate(certificate: Mapping[str, Any]) -> None:
    """Raise ValueError unless the report can tell what it says; a rung that holds has a number."""
    check_fields(certificate, "the certificate", CERTIFICATE, OPTIONAL_CERTIFICATE)
    if any(rung["holds"] and rung["measured"] is None for rung in certificate["rungs"]):
        raise ValueError("a rung holds without a number")


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
