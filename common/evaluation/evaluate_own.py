"""Scores generated images of any data against the run's own training images, with a floor beside every value."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from common.data.datasets import Dataset
from common.errors import UserError
from common.evaluation import kernel_distance
from common.evaluation.alarms import MAX_DUPLICATES
from common.evaluation.evaluate import Evaluation, measured
from common.evaluation.feature_network import default_threads
from common.evaluation.floors import Floor
from common.evaluation.memorisation import NearestTraining, closest_to_training, nearest_training
from common.evaluation.metrics import SEED, Scores
from common.evaluation.own_data import MIN_TEST_IMAGES, NUM_SPLITS, OwnData
from common.evaluation.pixel_components import OF_PIXELS, FeatureSpace
from common.evaluation.plausibility import MAX_SHARE, Alarm, percent
from common.evaluation.reference import K
from common.evaluation.samples import some_of

MAX_REPEATED = 0.1  # more than of real images: of so few, a handful are already many times as many
WHY_NO_DIGITS = (
    "The data are not the digits of MNIST, so there is no MNIST score and there are no classes: "
    "both need a network that knows digits only"
)
PIXELS_ONLY = (
    "These metrics see pixels only: colours, brightness and coarse shapes, not whether a picture shows what it should",
    "In pixels, grey or blurred samples are near many pictures. Precision, Memorised and C_T can then be those of "
    "copies: look at the pictures before you believe them",
)
NETWORK_ONLY = (
    "These metrics see what the network of --features tells apart, and nothing else. Scores by pixels, or by another "
    "network, must not be held against them",
)


def evaluate_own(
    draws: Iterable[np.ndarray],
    dataset: Dataset,
    *,
    space: FeatureSpace | None = None,
    quick: bool = False,
    threads: int | None = None,
) -> Evaluation:
    """Scores uint8 images of the shape of the dataset's against its training images; `evaluate_samples` is for digits.

    `quick` is the Fréchet distance and KID of at most 2,000 samples. UserError says what is wrong with the samples.
    """
    scored: list[Scores] = []
    alarms: list[Alarm] = []
    pairs: list[dict[str, float]] = []
    with threadpool_limits(threads or default_threads()):
        data = OwnData.of(dataset, space, quick=quick)
        for images in draws:
            check_images(images, dataset, num_images=data.num_images)
            features = data.space.extract(some_of(images, data.num_images))
            scores = data.distribution_scores(data.reference, features, quick=quick)
            if not quick:
                nearest = nearest_training(features, data.training)
                own_distances = data.own_distances(nearest.indices)
                everything = np.arange(len(data.held_out))
                screens = data.memorisation_scores(features, nearest, own_distances, held_out=everything)
                scores = scores._replace(values=scores.values | screens)
                pairs = pairs or _pairs(nearest, own_distances, num_samples=len(images))
                if not scored:
                    alarms = own_alarms(images, dataset, scores, data.floors(quick=False))
            scored.append(scores)
        floors = data.floors(quick=quick)
    metrics = {name: measured([each.values[name] for each in scored], floors.get(name)) for name in scored[0].values}
    if (error := scored[0].standard_errors.get("kid")) is not None:
        metrics["kid"]["standard_error"] = error
    return Evaluation(
        protocol=_protocol(data, dataset, num_draws=len(scored), quick=quick)
        | {"warnings": [alarm._asdict() for alarm in alarms]},
        metrics=metrics,
        nearest_neighbours=pairs,
    )


def own_alarms(images: np.ndarray, dataset: Dataset, scores: Scores, floors: Mapping[str, Floor]) -> list[Alarm]:
    """Collapse and copies, each with its share and that of real images."""
    known = {image.tobytes() for image in dataset.train_images}
    own = {image.tobytes() for image in dataset.test_images}
    copied = float(np.mean([image.tobytes() in known for image in images]))
    copied_floor = len(own & known) / len(own) if own else 0.0
    repeated, repeated_floor = scores.values["duplicate_fraction"], floors["duplicate_fraction"].mean
    found = []
    if copied > copied_floor + MAX_SHARE:
        sentence = f"{percent(copied)} of the samples are training images (held-out images: {percent(copied_floor)})"
        found.append(Alarm("copies", f"{sentence}, pixel for pixel: the model repeats its data", copied, copied_floor))
    if repeated > max(MAX_DUPLICATES * repeated_floor, repeated_floor + MAX_REPEATED):
        sentence = f"{percent(repeated)} of the samples nearly repeat another (real images: {percent(repeated_floor)})"
        found.append(Alarm("repeated", f"{sentence}: the model makes few pictures", repeated, repeated_floor))
    return found


def how_compared(protocol: Mapping[str, Any]) -> list[str]:
    """What a reader must know of scores that no digit network gave."""
    num = protocol.get("frechet_components")
    axes = (
        f"The Fréchet distance is along the {num} principal components of its features that vary most: "
        f"{protocol['num_generated']:,} images are too few for all {protocol['num_features']:,}"
    )
    limits = PIXELS_ONLY if protocol["features"].endswith(OF_PIXELS) else NETWORK_ONLY
    return [WHY_NO_DIGITS, *limits, *([axes] if num else [])]


def check_images(images: np.ndarray, dataset: Dataset, *, num_images: int) -> None:
    """Raise UserError unless these are enough images like the dataset's, and show something."""
    wanted = dataset.train_images.shape[1:]
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise UserError(
            f"the samples are {images.dtype} {images.shape[1:]}, the images of {dataset.name} uint8 {wanted}: "
            "pass samples of a model of this data"
        )
    if len(images) < num_images:
        raise UserError(f"got {len(images):,} samples: {num_images:,} are needed, half as many as training images")
    if (images == images[:, :1, :1]).all():
        raise UserError("every image is of one grey level: there is nothing to score; look at the run's sample grids")


def _pairs(nearest: NearestTraining, own_distances: np.ndarray, *, num_samples: int) -> list[dict[str, float]]:
    """Those closest to a training image, each sample by its place in the draw."""
    order = some_of(np.arange(num_samples), len(nearest.indices))
    pairs = closest_to_training(nearest, own_distances)
    return [{**pair, "sample": int(order[int(pair["sample"])])} for pair in pairs]


def _protocol(data: OwnData, dataset: Dataset, *, num_draws: int, quick: bool) -> dict[str, Any]:
    num = data.num_images
    screens = "" if quick else "; held-out images for Memorised and the copying statistic"
    if not quick and len(data.held_out) < MIN_TEST_IMAGES:
        screens = (
            f"; none for Memorised and C_T, as {len(data.held_out)} held-out images are fewer than {MIN_TEST_IMAGES}"
        )
    return {
        "num_generated": num,
        "num_real": num,
        "num_draws": num_draws,
        "reference": "random training images",
        "floor": f"{NUM_SPLITS} random splits, each {num:,} training images in place of generated ones against "
        f"{num:,} others{screens}",
        "image_size": dataset.train_images.shape[1],
        "network_sha256": data.space.sha256,
        "features": data.space.words,
        "num_features": data.training.shape[1],
        "frechet_components": data.frechet_axes.n_components if data.frechet_axes else 0,
        "k": K,
        "kid": kernel_distance.described(num, seed=SEED),
        "quick": quick,
        "comparable": False,
    }
