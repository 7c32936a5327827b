"""A parity certificate, parity.json: what it says, and whether it holds for two recorded runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.data.datasets import hash_of_images
from common.records.accelerator import describe_accelerator
from common.records.environment import describe_environment
from common.records.folder import PARITY_FILE, read_json
from common.records.recorded_run import Runs
from comparison.parity.arms import FLOAT64_LADDER, Arm
from comparison.parity.first_steps import first_steps, why_other_steps
from comparison.parity.identity import identity_hash, identity_of, ladder_hash, why_other_identity
from comparison.parity.ladder import RUNGS, Rung
from comparison.parity.pair import Measurement, Pair
from comparison.parity.whole_runs import why_not_whole

NONE_MADE = "no parity certificate was made for this configuration"


class Certificate(NamedTuple):
    """Whether the ladder holds for a configuration, why or why not, and the file that says so if there is one."""

    holds: bool
    reason: str
    path: Path | None = None


def certificate(
    pair: Pair,
    measurements: Sequence[Measurement],
    *,
    quick: bool,
    num_threads: int,
    arm: Arm | None = None,
    rungs: Sequence[Rung] = RUNGS,
) -> dict[str, Any]:
    """The content of parity.json, or of an arm's certificate; it holds only if every rung does."""
    environment = describe_environment()
    identity = identity_of(
        pair.config,
        pair.architecture,
        environment=environment,
        num_threads=num_threads,
        data_sha256=hash_of_images(pair.train_images),
        devices={probe.name: probe.device_name for probe in pair.probes},
        device_flags={probe.name: probe.device_flags for probe in pair.probes},
        accelerator=describe_accelerator(pair.torch.device_name),
        execution={probe.name: probe.execution_of(pair.config) for probe in pair.probes},
    )
    holds = bool(measurements) and all(measurement.holds for measurement in measurements)
    return {
        "holds": holds,
        "quick": quick,
        "arm": arm.name if arm else "",
        "went_on_from_checkpoint": pair.checkpoint is not None,
        **identity,
        "networks": repr(pair.architecture),
        "identity_hash": identity_hash(identity),
        "ladder_hash": ladder_hash(),
        "environment": environment,
        # A framework that differs may not take them at all; those of float64 are not what an arm in float32 takes.
        "first_steps": first_steps(pair) if holds and (arm is None or arm.kind != FLOAT64_LADDER) else None,
        "rungs": [
            {
                "rung": measurement.rung,
                "kind": rungs[measurement.rung].__name__,
                **measurement._asdict(),
                # JSON knows no infinity, which stands for a NaN or a missing tensor on either side.
                "measured": float(measurement.measured) if measurement.measured < float("inf") else None,
                "holds": measurement.holds,
            }
            for measurement in measurements
        ],
    }


def parity_of(comparison_dir: Path, runs: Runs) -> dict[str, Any]:
    """`holds` (None without a certificate), the file, the reason in words, and the worst of every rung."""
    certificate = read_json(comparison_dir / PARITY_FILE)
    reason = why_not_certifiable(runs)
    if not certificate:
        return {"holds": None, "certificate": None, "reason": reason or NONE_MADE, "quick": None, "rungs": []}
    reason = reason or _why_not(certificate, runs)
    return {
        "holds": reason is None,
        "certificate": PARITY_FILE,
        "reason": reason or "the certificate holds",
        "quick": certificate["quick"],
        "rungs": worst_of_each_rung(certificate["rungs"]),
    }


def why_not_certifiable(runs: Runs) -> str | None:
    """What in the records themselves forbids a ratio, whatever the ladder finds; None without such a thing."""
    return next(filter(None, map(why_not_whole, runs.values())), None)


def _why_not(certificate: Mapping[str, Any], runs: Runs) -> str | None:
    # What it is about comes first: a certificate of something else says nothing, whether it holds or not.
    for run in runs.values():
        if reason := why_other_identity(certificate, run):
            return reason
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
    if not certificate.get("first_steps"):
        return "the parity certificate has no first steps to know a run by"
    return why_other_steps(certificate["first_steps"], runs)


def worst_of_each_rung(measurements: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each rung and precision, the measurement with the least head-room."""
    worst: dict[tuple[int, str], dict[str, Any]] = {}
    for measurement in measurements:
        key = measurement["rung"], measurement["precision"]
        if key not in worst or share(measurement) > share(worst[key]):
            count = worst[key]["num_measurements"] if key in worst else 0
            worst[key] = {**measurement, "num_measurements": count}
        worst[key]["num_measurements"] += 1
    return [worst[key] for key in sorted(worst, key=lambda key: (key[0], key[1] != "float64"))]


def share(measurement: Mapping[str, Any]) -> float:
    """How much of the tolerance is used up; an exact comparison's tolerance is 0."""
    if measurement["measured"] is None:
        return float("inf")
    return measurement["measured"] / (measurement["tolerance"] or 1.0)
