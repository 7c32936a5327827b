"""Whether the parity certificate beside two runs is theirs, and holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from comparison.recorded_run import read_json
from comparison.summary import Runs

CERTIFICATE = "parity.json"
NONE_MADE = "no parity certificate was made for this configuration"


def parity_of(comparison_dir: Path, runs: Runs) -> dict[str, Any]:
    """`holds` (None without a certificate), the file, and the reason in words; a damaged file raises UserError."""
    try:
        certificate = read_json(comparison_dir / CERTIFICATE)
    except ValueError as error:
        raise UserError(f"{comparison_dir / CERTIFICATE} is no certificate ({error}): remove it") from None
    if not certificate:
        return {"holds": None, "certificate": None, "reason": NONE_MADE}
    reason = _why_not(certificate, runs)
    return {"holds": reason is None, "certificate": CERTIFICATE, "reason": reason or "the certificate holds"}


def _why_not(certificate: Mapping[str, Any], runs: Runs) -> str | None:
    if certificate.get("holds") is not True:
        return "the parity certificate does not hold"
    for run in runs.values():
        if certificate.get("config") != run.config:
            return "the parity certificate is for another configuration"
        # The width of the networks is no part of the configuration, but a certificate can be of narrower ones.
        if certificate.get("num_parameters") != run.environment.get("num_parameters"):
            return "the parity certificate is for networks of another size"
        certified = certificate.get("packages") or {}
        if any(certified.get(name) != version for name, version in run.environment["packages"].items()):
            return "the parity certificate was made with other package versions"
    return None
