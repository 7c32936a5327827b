"""Scores generated digits against real ones, with spread over draws and the floor beside every value."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NotRequired, TypedDict

import numpy as np
from threadpoolctl import threadpool_limits

from common.data.datasets import load_dataset
from common.evaluation import kernel_distance
from common.evaluation.alarms import NO_DIGIT_SET, alarms_about
from common.evaluation.classes import class_examples, class_histogram
from common.evaluation.feature_network import default_threads, load_feature_network
from common.evaluation.floors import Floor, floor_in_words, load_floors
from common.evaluation.memorisation import closest_to_training
from common.evaluation.metrics import SEED, Draw, Scores, all_scores, make_draw, quick_scores
from common.evaluation.reference import K, Reference
from common.evaluation.samples import DIGIT_SIZE, NUM_QUICK, NUM_STANDARD, check_draws, digit_images, some_of


class Measured(TypedDict):
    """A value (the mean over draws), and what it can be held against; None where there is no such thing."""

    value: float
    spread: float | None
    """Standard deviation over the draws; None for a single draw."""
    standard_error: NotRequired[float]
    floor: float | None
    """What real digits score: the mean over blocks of them, and the range of these."""
    floor_low: float | None
    floor_high: float | None


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model, and everything they depend on."""

    protocol: dict[str, Any]
    metrics: dict[str, Measured]
    class_histogram: dict[str, list[int]] = field(default_factory=dict)
    """Of the first draw and of the real digits; empty where the images are not digits."""
    class_examples: list[list[int]] = field(default_factory=list)
    """Of each digit the first samples of the first draw that were taken for it."""
    nearest_neighbours: list[dict[str, float]] = field(default_factory=list)
    """The samples of the first draw that come closest to a training image; empty for `--quick`."""
    discriminator_features: dict[str, Any] = field(default_factory=dict)
    """What a linear classifier makes of the discriminator; empty unless a run scores itself."""

    def to_json(self) -> dict[str, Any]:
        """The result in the shape of the `--json` file."""
        result = asdict(self)
        if not self.class_histogram:
            del result["class_histogram"], result["class_examples"]
        return result if self.discriminator_features else {**result, "discriminator_features": None}


def evaluate_samples(
    draws: np.ndarray | Iterable[np.ndarray],
    *,
    reference: str = "test",
    quick: bool = False,
    resized: bool = False,
    threads: int | None = None,
) -> Evaluation:
    """Scores uint8 images (N, S, S), N from 1,000 to 10,000, against N real digits of the reference split.

    Several draws of one model give each metric its spread. Only N = 10,000 test digits at a size they survive are the
    standard protocol (`comparable` is true); floors of any other are computed once and cached. `quick` scores 2,000
    samples by the Fréchet distance, KID and MNIST score alone; `resized` is for images of 29 to 35 px that come from
    enlarged digits, not from digits with a border. UserError says what is wrong with the samples.
    """
    network = load_feature_network(threads=threads)
    mnist = load_dataset("mnist")
    found: Reference | None = None
    scored: list[Scores] = []
    first: dict[str, Any] = {}
    with threadpool_limits(threads or default_threads()):
        for images in check_draws(draws):
            images = some_of(images, NUM_QUICK) if quick else images
            num_images, size = images.shape[:2]
            found = found or Reference(
                network, mnist, split=reference, num_images=num_images, image_size=size, resized=resized
            )
            draw = make_draw(digit_images(images, resized=resized), found)
            scored.append(quick_scores(draw, found) if quick else all_scores(draw, found))
            first = first or _first_draw(draw, found, scored[0])
        assert found is not None
        floors = load_floors(found, quick=quick)
    protocol = _protocol(found, num_draws=len(scored), quick=quick)
    protocol["warnings"] = alarms = first.pop("warnings")
    protocol["comparable"] &= not any(alarm["name"] in NO_DIGIT_SET for alarm in alarms)
    return Evaluation(
        protocol=protocol,
        metrics={name: _metric(name, scored, floors[name]) for name in scored[0].values},
        **first,
    )


def measured(values: Sequence[float], floor: Floor | None = None) -> Measured:
    """What the draws say together; without a floor where real digits have no such value."""
    return Measured(
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        floor=floor.mean if floor else None,
        floor_low=floor.low if floor else None,
        floor_high=floor.high if floor else None,
    )


def _first_draw(draw: Draw, reference: Reference, scores: Scores) -> dict[str, Any]:
    """What a person looks at besides the numbers."""
    distances = reference.training_digits.statistics.distances if scores.nearest else np.empty(0)
    return {
        "warnings": [alarm._asdict() for alarm in alarms_about(draw, scores, reference)],
        "class_histogram": {
            name: class_histogram(logits).tolist()
            for name, logits in (("generated", draw.logits), ("real", reference.logits))
        },
        "class_examples": class_examples(draw.logits),
        "nearest_neighbours": closest_to_training(scores.nearest, distances) if scores.nearest else [],
    }


def _metric(name: str, scored: Sequence[Scores], floor: Floor) -> Measured:
    metric = measured([scores.values[name] for scores in scored], floor)
    if (error := scored[0].standard_errors.get(name)) is not None:
        metric["standard_error"] = error
    return metric


def _protocol(reference: Reference, *, num_draws: int, quick: bool) -> dict[str, Any]:
    restoration = "antialiased bilinear resize (PIL)" if reference.is_resized else "crop of the border"
    return {
        "num_generated": reference.num_images,
        "num_real": reference.num_images,
        "num_draws": num_draws,
        "reference": {"test": "MNIST test digits", "train": "MNIST training digits"}[reference.split],
        "floor": floor_in_words(reference.split, quick=quick),
        "image_size": reference.sample_size,
        "brought_to_28_px": "they are" if reference.sample_size == DIGIT_SIZE else restoration,
        "network_sha256": reference.network.sha256,
        "num_features": reference.features.shape[1],
        "k": K,
        "kid": kernel_distance.described(reference.num_images, seed=SEED),
        "quick": quick,
        "comparable": (
            not quick
            and reference.split == "test"
            and reference.num_images == NUM_STANDARD
            and not reference.is_resized
        ),
    }
