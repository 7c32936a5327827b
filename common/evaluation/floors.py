"""Floors: what the metrics say of real digits, the value a perfect generator would reach at the same N."""

import json

from common.data import load_dataset
from common.errors import UserError
from common.evaluation.feature_network import ASSETS, FeatureNetwork, Features
from common.evaluation.metrics import K, comparison_metrics, sample_metrics

FLOORS_PATH = ASSETS / "floors.json"
NUM_STANDARD = 10_000  # images on each side in the standard protocol: all test digits


def compute_floors(train: Features, test: Features) -> dict[str, float]:
    """The training block compared as if generated; single-set metrics of the test digits themselves."""
    return comparison_metrics(train, test) | sample_metrics(test)


def stored_floors(network: FeatureNetwork) -> dict[str, float]:
    """The floors of the standard protocol. Raises UserError if they belong to another feature network."""
    stored = json.loads(FLOORS_PATH.read_text())
    if (stored["network_sha256"], stored["k"]) != (network.sha256, K):
        raise UserError(f"{FLOORS_PATH.name} is stale: run python -m common.evaluation.recompute_floors")
    return stored["floors"]


def store_floors(network: FeatureNetwork) -> None:
    """Computes the floors of the standard protocol and writes them over the stored ones."""
    mnist = load_dataset("mnist")
    train = network.extract(mnist.train_images[:NUM_STANDARD])
    test = network.extract(mnist.test_images[:NUM_STANDARD])
    content = {
        "network_sha256": network.sha256,
        "num_images": NUM_STANDARD,
        "k": K,
        "reference": "MNIST test digits; compared with them, the first 10,000 training digits",
        "floors": compute_floors(train, test),
    }
    FLOORS_PATH.write_text(json.dumps(content, indent=2) + "\n")
