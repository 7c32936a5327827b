"""Recomputes the stored floors after a change of a metric: python -m common.evaluation.recompute_floors."""

from common.evaluation.feature_network import load_feature_network
from common.evaluation.floors import FLOORS_PATH, store_floors

if __name__ == "__main__":
    store_floors(load_feature_network())
    print(FLOORS_PATH.read_text(), end="")
