"""Whether the parity certificate beside two runs is theirs, and holds."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.untrusted import one_line
from comparison.record_schema import check_certificate
from comparison.recorded_run import read_json
from comparison.summary import Runs

CERTIFICATE = "parity.json"
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
LADDER = Path(__file__).parent / "parity"
NUM_RUNGS = 13


def ladder_hash() -> str:
    """SHA-256 of the ladder's own source: its tolerances are part of what holds."""
    digest = hashlib.sha256()
    for path in sorted(LADDER.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def identity_of_runs(runs: Runs) -> dict[str, Any] | None:
    """What a certificate of these runs must be about; None if they differ among themselves, or one is missing."""
    found = [_identity(run.config, run.environment) for run in runs.values()]
    devices = {name: run.environment.get("device") for name, run in runs.items()}
    if len(found) < 2 or found[0] != found[1]:
        return None
    return {**found[0], "devices": devices}


def parity_of(comparison_dir: Path, runs: Runs) -> dict[str, Any]:
    """`holds` (None without a certificate), the file, the reason in words, and the worst of every rung.

    A damaged file raises UserError.
    """
    try:
        certificate = read_json(comparison_dir / CERTIFICATE)
        if not certificate:
            return {"holds": None, "certificate": None, "reason": NONE_MADE, "quick": None, "rungs": []}
        check_certificate(certificate)
        reason = _why_not(certificate, runs)
        return {
            "holds": reason is None,
            "certificate": CERTIFICATE,
            "reason": reason or "the certificate holds",
            "quick": bool(certificate["quick"]),
            "rungs": worst_of_each_rung(certificate["rungs"]),
        }
    except ValueError as error:
        path = one_line(comparison_dir / CERTIFICATE)
        raise UserError(f"{path} is no certificate ({one_line(error)}): remove it") from None


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
