"""From repeated measurements to what may be said: the content of `bench --json`, and no ratio that is not earned."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np

from common.config import TrainConfig
from common.records.schema import BenchPhases
from comparison.bench.certificates import ArmCertificate
from comparison.bench.statistics import break_even_step, is_itself, quartiles, ratio
from comparison.parity.arms import Arm
from comparison.parity.certificate import Certificate

Records = Sequence[Mapping[str, Any]]  # of one arm, a record of each repetition
CACHES = ("empty_cache", "full_cache")  # what the first process finds of compiled programs, and what the second


def what_changed(environments: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Records]) -> str | None:
    """Why no certificate speaks of what was measured: sources or packages changed meanwhile; None if none did.

    `environments` are the frameworks' before it was measured.
    """
    for name, records in measured.items():
        before = environments[name.partition("-")[0]]
        for record in records:
            if any(record["environment"][key] != before[key] for key in ("source_hash", "packages", "package_hashes")):
                return f"the sources or packages changed while {name} was measured: measure again"
    return None


def step_seconds(records: Records) -> list[float]:
    """One number for each repetition: the median of its blocks."""
    return [float(np.median(record["block_seconds_per_step"])) for record in records]


def control_result(first: Records, second: Records) -> dict[str, Any]:
    """The first arm against itself."""
    found = ratio(step_seconds(first), step_seconds(second))
    return {"ratio": found.median, "low": found.low, "high": found.high, "holds": is_itself(found)}


def slowdown(records: Records, *, alone: Records) -> dict[str, Any]:
    """How long a step takes, and how many times as long as in the same repetition alone."""
    return {
        "milliseconds_per_step": quartiles([1e3 * seconds for seconds in step_seconds(records)])._asdict(),
        "slowdown": ratio(step_seconds(records), step_seconds(alone))._asdict(),
    }


def speed_of(records: Records, *, batch_size: int) -> dict[str, Any]:
    """How long a step of one arm takes, with quartiles over repetitions, and the images it trains on in a second."""
    per_step = quartiles(step_seconds(records))
    return {
        "milliseconds_per_step": {name: 1e3 * value for name, value in per_step._asdict().items()},
        "images_per_second": batch_size / per_step.median,
    }


def arm_result(
    arm: Arm, records: Records, *, flops: int, batch_size: int, roofs: Mapping[str, float]
) -> dict[str, Any]:
    """What one arm did; phases are medians over repetitions."""
    seconds = step_seconds(records)
    gflops = flops / quartiles(seconds).median / 1e9
    phases = {name: float(np.median([record[name] for record in records])) for name in BenchPhases.model_fields}
    return {
        "title": arm.title,
        "framework": arm.framework,
        "variant": arm.variant,
        "precision": arm.precision,
        "num_repetitions": len(records),
        **speed_of(records, batch_size=batch_size),
        "gflops_per_second": gflops,
        "fraction_of_roof": gflops / roofs[arm.precision] if arm.precision in roofs else None,
        "first_block_extra_seconds": float(np.median(first_block_extra_seconds(records))),
        "peak_memory_bytes": max(record["peak_memory_bytes"] for record in records),
        **phases,
        "seconds_per_step_by_repetition": seconds,
        "block_seconds_per_step_by_repetition": [record["block_seconds_per_step"] for record in records],
    }


def first_block_extra_seconds(records: Records) -> list[float]:
    """What the first block of each repetition took beyond a later one."""
    steady = step_seconds(records)
    return [
        max(record["first_block_seconds"] - record["steps_per_block"] * seconds, 0.0)
        for record, seconds in zip(records, steady, strict=True)
    ]


def start_seconds(records: Records) -> float:
    """What compiling asks before the steady state: building, where JAX compiles too, and the first block's extra."""
    building = np.median([record["build_seconds"] for record in records])
    return float(building + np.median(first_block_extra_seconds(records)))


def refusals(certificates: Mapping[str, ArmCertificate], measured: Mapping[str, Records]) -> dict[str, str]:
    """Arms that get no ratio, and why: no certificate, or a timed process that took other first steps."""
    refused = {}
    for name, records in measured.items():
        certificate = certificates[name]
        reasons = [None if certificate.holds else certificate.reason]
        reasons += [
            certificate.why_other_training(name, record["first_steps"]) for record in records if certificate.holds
        ]
        if reason := next(filter(None, reasons), None):
            refused[name] = reason
    return refused


def verdicts(
    measured: Mapping[str, Records], certificates: Mapping[str, ArmCertificate], control: Mapping[str, Any]
) -> dict[str, Any]:
    """Ratios of step times, "a/b", and break-even steps, of every two arms that may have one; none without control."""
    refused = refusals(certificates, measured)
    allowed = [name for name in measured if name not in refused] if control["holds"] else []
    seconds = {name: step_seconds(measured[name]) for name in allowed}
    ratios = {f"{a}/{b}": ratio(seconds[a], seconds[b]) for a, b in permutations(allowed, 2)}
    return {
        "certificates": {name: certificates[name].summary() for name in measured},
        "refused": refused,
        "ratios": {pair: found._asdict() for pair, found in ratios.items()},
        "break_even_steps": {
            f"{a}/{b}": break_even_step(
                {name: start_seconds(measured[name]) for name in (a, b)},
                {name: float(np.median(seconds[name])) for name in (a, b)},
            )
            for a, b in combinations(sorted(allowed), 2)
            if not ratios[f"{a}/{b}"].low <= 1 <= ratios[f"{a}/{b}"].high  # else who is faster is not known
        },
    }


def bench_result(
    config: TrainConfig,
    *,
    flops: int,
    roof: Mapping[str, Any],
    arms: Mapping[str, Arm],
    measured: Mapping[str, Records],
    ladder: Certificate,
    certificates: Mapping[str, ArmCertificate],
    control: Mapping[str, Any],
) -> dict[str, Any]:
    """Every arm, and what may be said of two."""
    roofs = {precision: roof[f"{precision}_gflops_per_second"] for precision in ("float32", "bfloat16")}
    return {
        "flops_per_step": flops,
        "roof": roof,
        "control": control,
        "parity": {"holds": ladder.holds, "reason": ladder.reason},
        "arms": {
            name: arm_result(arms[name], records, flops=flops, batch_size=config.batch_size, roofs=roofs)
            for name, records in measured.items()
        },
        **verdicts(measured, certificates, control),
    }


def roof_result(
    before: Mapping[str, Mapping[str, Mapping[str, float]]], after: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, Any]:
    """Framework -> precision -> size -> GFLOP/s at both ends: the best of all, and how far it moved in between."""
    precisions = next(iter(before.values())).keys()
    ends = {
        precision: [max(max(found[precision].values()) for found in end.values()) for end in (before, after)]
        for precision in precisions
    }
    return {
        **{f"{precision}_gflops_per_second": max(found) for precision, found in ends.items()},
        "drift": max(abs(math.log(found[1] / found[0])) for found in ends.values()),
        "before": before,
        "after": after,
    }
