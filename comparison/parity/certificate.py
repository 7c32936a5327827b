"""parity.json: what was measured, and everything the result depends on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import TrainConfig, to_dict
from common.networks.build import count_parameters
from common.networks.layers import Architecture
from common.records.environment import describe_environment
from common.records.folder import PARITY_FILE, read_json
from common.records.recorded_run import Runs
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
    """What `comparison.parity.certificate.IDENTITY` names, of a pair; the records of two runs hold the same."""
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


@dataclass(frozen=True)
class Certificate:
    """Whether the ladder holds for the configuration, and why or why not."""

    holds: bool
    reason: str


CERTIFICATE = PARITY_FILE
NONE_MADE = "no parity certificate was made for this configuration"
# What a certificate and a run must have in common for one to speak of the other, and what to call it.
IDENTITY = {
    "config": "another configuration",
    "num_parameters": "networks of another size",
    "packages": "other package versions",
    "source_hash": "other source files",
    "num_threads": "another number of threads",
    "devices": "other devices",
}
LADDER = Path(__file__).parent
NUM_RUNGS = 13


def ladder_hash() -> str:
    """SHA-256 of the ladder's own source: its tolerances are part of what holds."""
    digest = hashlib.sha256()
    for path in sorted(LADDER.rglob("*.py")):
        digest.update(path.relative_to(LADDER).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def identity_of_runs(runs: Runs) -> dict[str, Any] | None:
    """What a certificate of these runs must be about; None if they differ among themselves, or one is missing."""
    found = [_identity(run.config, run.environment) for run in runs.values()]
    devices = {name: run.environment.get("device") for name, run in runs.items()}
    if len(found) < 2 or found[0] != found[1]:
        return None
    return {**found[0], "devices": devices}


def parity_of(comparison_dir: Path, runs: Runs) -> dict[str, Any]:
    """`holds` (None without a certificate), the file, the reason in words, and the worst of every rung."""
    certificate = read_json(comparison_dir / CERTIFICATE)
    if not certificate:
        return {"holds": None, "certificate": None, "reason": NONE_MADE, "quick": None, "rungs": []}
    reason = _why_not(certificate, runs)
    return {
        "holds": reason is None,
        "certificate": CERTIFICATE,
        "reason": reason or "the certificate holds",
        "quick": certificate["quick"],
        "rungs": worst_of_each_rung(certificate["rungs"]),
    }


def _identity(config: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "config": config,
        **{name: environment.get(name) for name in IDENTITY if name not in ("config", "devices")},
    }


def _why_not(certificate: Mapping[str, Any], runs: Runs) -> str | None:
    # What it is about comes first: a certificate of something else says nothing, whether it holds or not.
    for framework, run in runs.items():
        found = {**_identity(run.config, run.environment), "devices": run.environment.get("device")}
        certified = {name: certificate.get(name) for name in IDENTITY}
        certified["devices"] = (certificate.get("devices") or {}).get(framework)
        # A run may have recorded fewer packages than the ladder, but none in another version.
        packages = certified["packages"] or {}
        certified["packages"] = {name: packages.get(name) for name in found["packages"]}
        for name, other in IDENTITY.items():
            if found[name] != certified[name]:
                return f"the parity certificate is for {other}"
    if certificate.get("ladder_hash") != ladder_hash():
        return "the parity certificate was made with another version of the ladder"
    failed = next((rung for rung in certificate["rungs"] if rung["holds"] is not True), None)
    if failed is None and {rung["rung"] for rung in certificate["rungs"]} != set(range(NUM_RUNGS)):
        return "the parity certificate does not cover every rung"
    if certificate.get("holds") is not True or failed is not None:
        if failed is None:
            return "the parity certificate does not hold"
        where = f", at {failed['where']}" if failed["where"] else ""
        return f"parity does not hold: rung {failed['rung']} ({failed['name']}, {failed['precision']}){where}"
    return None


def worst_of_each_rung(measurements: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each rung and precision, the measurement with the least head-room."""
    worst: dict[tuple[int, str], dict[str, Any]] = {}
    for measurement in measurements:
        key = measurement["rung"], measurement["precision"]
        if key not in worst or _share(measurement) > _share(worst[key]):
            count = worst[key]["num_measurements"] if key in worst else 0
            worst[key] = {**measurement, "num_measurements": count}
        worst[key]["num_measurements"] += 1
    return [worst[key] for key in sorted(worst, key=lambda key: (key[0], key[1] != "float64"))]


def _share(measurement: Mapping[str, Any]) -> float:
    """How much of the tolerance is used up; an exact comparison's tolerance is 0."""
    if measurement["measured"] is None:
        return float("inf")
    return measurement["measured"] / (measurement["tolerance"] or 1.0)
