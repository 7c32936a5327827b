"""parity.json: what was measured, and a hash of everything the result depends on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.architectures import count_parameters
from common.config import to_dict
from common.environment import describe_environment
from comparison.parity.pair import Measurement, Pair

ROOT = Path(__file__).parents[2]
CERTIFIED_PACKAGES = ("common", "torch_impl", "jax_impl", "comparison/parity")


def certificate(pair: Pair, measurements: Sequence[Measurement], *, quick: bool, num_threads: int) -> dict[str, Any]:
    """The content of parity.json; it holds only if every rung does."""
    environment = describe_environment()
    return {
        "holds": all(measurement.holds for measurement in measurements),
        "quick": quick,
        "config_hash": config_hash(pair, environment["packages"], num_threads=num_threads),
        "config": to_dict(pair.config),
        "num_parameters": count_parameters(pair.architecture),
        "packages": environment["packages"],
        "num_threads": num_threads,
        "environment": environment,
        "rungs": [
            {
                "rung": measurement.rung,
                "name": measurement.name,
                "precision": measurement.precision,
                # JSON knows no infinity, which stands for a NaN or a missing tensor on either side.
                "measured": measurement.measured if measurement.measured < float("inf") else None,
                "tolerance": measurement.tolerance,
                "where": measurement.where,
                "holds": measurement.holds,
            }
            for measurement in measurements
        ],
    }


def config_hash(pair: Pair, packages: dict[str, str], *, num_threads: int) -> str:
    """SHA-256 over the configuration, the networks, our source files, versions and threads."""
    parts = [json.dumps(to_dict(pair.config)), repr(pair.architecture), json.dumps(packages), str(num_threads)]
    digest = hashlib.sha256("\n".join(parts).encode())
    for package in CERTIFIED_PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
