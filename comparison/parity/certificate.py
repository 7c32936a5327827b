"""parity.json: what was measured, and everything the result depends on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from common.architectures import count_parameters
from common.config import TrainConfig, to_dict
from common.environment import describe_environment
from common.layers import Architecture
from comparison.certified import IDENTITY, ladder_hash
from comparison.parity.ladder import RUNGS
from comparison.parity.pair import Measurement, Pair


def certificate(pair: Pair, measurements: Sequence[Measurement], *, quick: bool, num_threads: int) -> dict[str, Any]:
    """The content of parity.json; it holds only if every rung does."""
    environment = describe_environment()
    devices = {probe.name: probe.device_name for probe in pair.probes}
    identity = identity_of(pair.config, pair.architecture, environment, num_threads=num_threads, devices=devices)
    return {
        "holds": bool(measurements) and all(measurement.holds for measurement in measurements),
        "quick": quick,
        **identity,
        "networks": repr(pair.architecture),
        "identity_hash": identity_hash(identity),
        "ladder_hash": ladder_hash(),
        "environment": environment,
        "rungs": [
            {
                "rung": measurement.rung,
                "kind": RUNGS[measurement.rung].__name__,
                "name": measurement.name,
                "precision": measurement.precision,
                # JSON knows no infinity, which stands for a NaN or a missing tensor on either side.
                "measured": float(measurement.measured) if measurement.measured < float("inf") else None,
                "tolerance": measurement.tolerance,
                "where": measurement.where,
                "holds": measurement.holds,
            }
            for measurement in measurements
        ],
    }


def identity_of(
    config: TrainConfig,
    architecture: Architecture,
    environment: Mapping[str, Any],
    *,
    num_threads: int,
    devices: Mapping[str, str],
) -> dict[str, Any]:
    """What `comparison.certified.IDENTITY` names, of a pair; the records of two runs hold the same."""
    return {
        "config": to_dict(config),
        "num_parameters": count_parameters(architecture),
        "packages": environment["packages"],
        "source_hash": environment["source_hash"],
        "num_threads": num_threads,
        "devices": dict(devices),
    }


def identity_hash(identity: Mapping[str, Any]) -> str:
    """SHA-256 over the identity and over the ladder's own source."""
    known = {name: identity[name] for name in IDENTITY} | {"ladder_hash": ladder_hash()}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
