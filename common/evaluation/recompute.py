"""Recomputes what is shipped beside the network, after a change of it or of a metric.

    python -m common.evaluation.recompute

Takes some minutes. `make test-long` checks parts of what is shipped: floors, statistics, the order of the calibration.
"""

from common.console import make_console
from common.data.datasets import load_dataset
from common.evaluation import calibration, floors, training_digits
from common.evaluation.feature_network import FeatureNetwork, load_feature_network
from common.evaluation.reference import Reference
from common.evaluation.samples import DIGIT_SIZE, NUM_QUICK, NUM_STANDARD
from common.evaluation.stored import ship
from common.records.folder import json_bytes
from common.stages import shown_on


def recompute(network: FeatureNetwork) -> dict[str, bytes]:
    """Name to content: statistics of the training digits, floors of both protocols, calibration."""
    mnist = load_dataset("mnist")
    features = network.extract(mnist.train_images).features
    statistics = training_digits.compute_statistics(mnist.train_images, features)
    files = {training_digits.statistics_name(DIGIT_SIZE): training_digits.encode(statistics)}
    ship(files, network)  # the rest is computed from it
    for split in ("test", "train"):
        for num_images, quick in ((NUM_STANDARD, False), (NUM_QUICK, True)):
            reference = Reference(network, mnist, split=split, num_images=num_images, image_size=DIGIT_SIZE)
            computed = floors.compute_floors(reference, quick=quick)
            files[floors.floors_name(reference, quick=quick)] = floors.encode(computed)
    reference = Reference(network, mnist, split="test", num_images=NUM_STANDARD, image_size=DIGIT_SIZE)
    rows = calibration.compute_calibration(reference)
    files[calibration.NAME] = json_bytes(rows)
    ship(files, network)
    return files


if __name__ == "__main__":
    with shown_on(make_console()):
        recomputed = recompute(load_feature_network())
    for name, content in recomputed.items():
        print(f"{name}: {len(content):,} bytes")
