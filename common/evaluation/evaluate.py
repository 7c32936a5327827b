"""Scores generated digits against the MNIST test digits, with the floor beside every value."""

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
from threadpoolctl import threadpool_limits

from common.data import fit_images, load_dataset
from common.evaluation.feature_network import default_threads, load_feature_network
from common.evaluation.floors import NUM_STANDARD, compute_floors, stored_floors
from common.evaluation.metrics import K, class_histogram, comparison_metrics, sample_metrics
from common.evaluation.samples import check_samples, digit_images


class Metric(TypedDict):
    """A value, its spread over generator draws (None: a single draw), and what real digits score."""

    value: float
    spread: float | None
    floor: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of one set of samples, and everything they depend on."""

    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    class_histogram: dict[str, list[int]]

    def to_json(self) -> dict[str, Any]:
        """The result in the shape of the `--json` file."""
        return asdict(self)


def evaluate_samples(images: np.ndarray, *, threads: int | None = None) -> Evaluation:
    """Scores uint8 images (N, S, S), 1,000 to 10,000 of them, against the first N test digits.

    Only N = 10,000 is the standard protocol (`comparable` is true). For any other N the floors are computed
    anew, as they are for a size S that test digits do not survive unchanged. Anything else: UserError.
    """
    check_samples(images)
    network = load_feature_network(threads=threads)
    mnist = load_dataset("mnist")
    num_images, image_size = images.shape[:2]
    test_images = _round_trip(mnist.test_images[:num_images], image_size)
    is_standard = num_images == NUM_STANDARD and np.array_equal(test_images, mnist.test_images)

    with threadpool_limits(threads or default_threads()):
        generated, test = network.extract(digit_images(images)), network.extract(test_images)
        values = comparison_metrics(generated, test) | sample_metrics(generated)
        if is_standard:
            floors = stored_floors(network)
        else:
            train_images = _round_trip(mnist.train_images[:num_images], image_size)
            floors = compute_floors(network.extract(train_images), test)
    return Evaluation(
        protocol={
            "num_generated": num_images,
            "num_real": num_images,
            "reference": "MNIST test digits",
            "floor": "the first training digits in place of generated ones",
            "image_size": image_size,
            "network_sha256": network.sha256,
            "num_features": test.features.shape[1],
            "k": K,
            "comparable": is_standard,
        },
        metrics={name: Metric(value=value, spread=None, floor=floors[name]) for name, value in values.items()},
        class_histogram={
            "generated": class_histogram(generated.logits).tolist(),
            "real": class_histogram(test.logits).tolist(),
        },
    )


def _round_trip(real_images: np.ndarray, image_size: int) -> np.ndarray:
    """Real digits through the size of the samples, so that resizing alone does not cost a score."""
    return digit_images(fit_images(real_images, image_size))
