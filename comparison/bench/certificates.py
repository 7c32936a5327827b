"""The parity certificate of what is benchmarked: found beside the comparisons, or made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config import TrainConfig
from common.networks.layers import Architecture
from comparison.parity.certificate import Certificate, identity_hash, identity_of
from comparison.parity.find_certificate import STORE, certificate_holds, climb_quickly
from comparison.processes import Children, config_flags

CERTIFICATES = Path("runs") / STORE


def certify(
    config: TrainConfig,
    architecture: Architecture,
    environment: Mapping[str, Any],
    children: Children,
    *,
    num_threads: int,
    devices: Mapping[str, str],
    flags: list[str],
) -> Certificate:
    """The tuned forms' certificate that is there and holds, or that of a quick ladder which is climbed now.

    Its rungs 8 and 9 climb with the idiomatic forms too, in float64. `flags` say where it runs.
    """
    tuned = replace(config, variant="tuned", precision="float32")
    identity = identity_of(tuned, architecture, environment, num_threads=num_threads, devices=devices)
    path = CERTIFICATES / f"{identity_hash(identity)}.json"
    if not certificate_holds(path):
        try:
            reason = climb_quickly([*config_flags(tuned), *flags], path, children, num_threads=num_threads)
        except OSError as error:
            reason = str(error)
        if reason is not None:
            return Certificate(False, f"no certificate was made: {reason}")
    if not certificate_holds(path):
        return Certificate(False, "parity does not hold for this configuration")
    return Certificate(True, f"the tuned forms are certified by the ladder ({path.stem[:12]})")
