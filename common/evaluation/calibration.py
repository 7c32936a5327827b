"""Calibration: what the metrics say of sets that are known to be bad, computed once and stored."""

import json

from common.evaluation.feature_network import ASSETS, DESCRIPTION_PATH

CALIBRATION_PATH = ASSETS / "calibration.json"


def stored_calibration() -> dict[str, dict[str, float]]:
    """Name of a set to its metrics under the standard protocol; empty if they are of another feature network."""
    if not CALIBRATION_PATH.exists():
        return {}
    stored = json.loads(CALIBRATION_PATH.read_text())
    committed = json.loads(DESCRIPTION_PATH.read_text())["sha256"]
    return stored["rows"] if stored["network_sha256"] == committed else {}
