"""A parity certificate, parity.json: what it says, what it depends on, and whether it holds for two recorded runs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.config import TrainConfig, to_dict
from common.networks.build import count_parameters
from common.networks.layers import Architecture
from common.records.environment import describe_environment, hash_of_sources, source_hash
from common.records.folder import FRAMEWORK_NAMES, PARITY_FILE, read_json
from common.records.recorded_run import RecordedRun, Runs
from comparison.parity.ladder import RUNGS
from comparison.parity.pair import Measurement, Pair

NONE_MADE = "no parity certificate was made for this configuration"
# What a certificate and a run must have in common for one to speak of the other, and what to call it.
IDENTITY = {
    "config": "another configuration",
    "num_parameters": "networks of another size",
    "packages": "other package versions",
    "num_threads": "another number of threads",
    "source_hashes": "other source files",
    "devices": "other devices",
}
# Those of which each framework has its own, and their names in a run's environment.json.
OWN = {"source_hashes": "source_hash", "devices": "device"}
# What decides whether a rung holds: who is compared, on what, how far, and the tolerances.
LADDER_SOURCES = tuple(
    f"comparison/parity/{name}"
    for name in ("setup.py", "pair.py", "ladder.py", "divergence.py", "rounding_noise.py", "probes", "rungs")
)


class Certificate(NamedTuple):
    """Whether the ladder holds for a configuration, why or why not, and the file that says so if there is one."""

    holds: bool
    reason: str
    path: Path | None = None


def certificate(pair: Pair, measurements: Sequence[Measurement], *, quick: bool, num_threads: int) -> dict[str, Any]:
    """The content of parity.json; it holds only if every rung does."""
    environment = describe_environment()
    devices = {probe.name: probe.device_name for probe in pair.probes}
    identity = identity_of(
        pair.config, pair.architecture, packages=environment["packages"], num_threads=num_threads, devices=devices
    )
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
                **measurement._asdict(),
                # JSON knows no infinity, which stands for a NaN or a missing tensor on either side.
                "measured": float(measurement.measured) if measurement.measured < float("inf") else None,
                "holds": measurement.holds,
            }
            for measurement in measurements
        ],
    }


def identity_of(
    config: TrainConfig,
    architecture: Architecture,
    *,
    packages: Mapping[str, str],
    num_threads: int,
    devices: Mapping[str, str],
) -> dict[str, Any]:
    """What `IDENTITY` names, of a configuration and of the sources as they are now."""
    return {
        "config": to_dict(config),
        "num_parameters": count_parameters(architecture),
        "packages": dict(packages),
        "num_threads": num_threads,
        "source_hashes": {framework: source_hash(framework) for framework in FRAMEWORK_NAMES},
        "devices": dict(devices),
    }


def identity_of_runs(runs: Runs) -> dict[str, Any] | None:
    """What a certificate of these runs must be about; None if they differ among themselves, or one is missing."""
    shared = [_shared_identity(run) for run in runs.values()]
    if len(shared) < 2 or shared[0] != shared[1]:
        return None
    own = {name: {framework: run.environment.get(OWN[name]) for framework, run in runs.items()} for name in OWN}
    return {**shared[0], **own}


def identity_hash(identity: Mapping[str, Any]) -> str:
    """SHA-256 over the identity and over the ladder's own source."""
    known = {name: identity[name] for name in IDENTITY} | {"ladder_hash": ladder_hash()}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def ladder_hash() -> str:
    """SHA-256 over the ladder's own sources: its tolerances are part of what holds."""
    return hash_of_sources(*LADDER_SOURCES)


def parity_of(comparison_dir: Path, runs: Runs) -> dict[str, Any]:
    """`holds` (None without a certificate), the file, the reason in words, and the worst of every rung."""
    certificate = read_json(comparison_dir / PARITY_FILE)
    if not certificate:
        return {"holds": None, "certificate": None, "reason": NONE_MADE, "quick": None, "rungs": []}
    reason = _why_not(certificate, runs)
    return {
        "holds": reason is None,
        "certificate": PARITY_FILE,
        "reason": reason or "the certificate holds",
        "quick": certificate["quick"],
        "rungs": worst_of_each_rung(certificate["rungs"]),
    }


def _shared_identity(run: RecordedRun) -> dict[str, Any]:
    recorded = {**run.environment, "config": run.config}
    return {name: recorded.get(name) for name in IDENTITY if name not in OWN}


def _why_not(certificate: Mapping[str, Any], runs: Runs) -> str | None:
    # What it is about comes first: a certificate of something else says nothing, whether it holds or not.
    for framework, run in runs.items():
        found = _shared_identity(run) | {name: run.environment.get(recorded) for name, recorded in OWN.items()}
        certified = {name: certificate.get(name) for name in IDENTITY}
        certified |= {name: (certified[name] or {}).get(framework) for name in OWN}
        # A run may have recorded fewer packages than the ladder, but none in another version.
        packages = certified["packages"] or {}
        certified["packages"] = {name: packages.get(name) for name in found["packages"] or {}}
        for name, other in IDENTITY.items():
            if found[name] != certified[name]:
                return f"the parity certificate is for {other}"
    if certificate.get("ladder_hash") != ladder_hash():
        return "the parity certificate was made with another version of the ladder"
    failed = next((rung for rung in certificate["rungs"] if rung["holds"] is not True), None)
    if failed is None and {rung["rung"] for rung in certificate["rungs"]} != set(range(len(RUNGS))):
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
