"""From repeated measurements to what may be said: the content of `bench --json`, and no ratio that is not earned."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np

from common.commands.measure_step import NUM_COMPARED_STEPS
from common.config import TrainConfig
from common.records.schema import BenchPhases
from comparison.bench.options import Arm
from comparison.bench.statistics import break_even_step, is_itself, quartiles, ratio
from comparison.parity.certificate import Certificate

Records = Sequence[Mapping[str, Any]]  # of one arm, a record of each repetition
# First losses are of the same weights, images and latents: what is allowed in the first step, which sees one update
# of D, and in the two after it. There float32 alone parts PyTorch's two forms by 3e-3 (dcgan32-wide): Adam's first
# steps are of equal size whatever a gradient's, so that rounding decides the direction of the smallest.
SAME_WORK = {"float64": (1e-9, 1e-9), "float32": (1e-4, 1e-2), "bfloat16": (0.05, 0.05)}
CACHES = ("empty_cache", "full_cache")  # what the first process finds of compiled programs, and what the second


def still_certified(
    certificate: Certificate, environments: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Records]
) -> Certificate:
    """The certificate, or one that does not hold if sources or packages changed while the arms were measured.

    `environments` are the frameworks' before it was measured.
    """
    for name, records in measured.items():
        before = environments[name.partition("-")[0]]
        for record in records:
            if any(record["environment"][key] != before[key] for key in ("source_hash", "packages", "package_hashes")):
                return Certificate(False, f"the sources or packages changed while {name} was measured: measure again")
    return certificate


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


def first_loss_differences(
    arms: Mapping[str, Arm], measured: Mapping[str, Records], *, num_steps: int = NUM_COMPARED_STEPS
) -> dict[str, float | None]:
    """How far each arm's first losses are from those of the first arm that is not bfloat16: relative, the worst.

    None where a loss is not a number.
    """
    reference = next((name for name, arm in arms.items() if arm.precision != "bfloat16"), next(iter(arms)))
    count = 2 * num_steps  # the discriminator's and the generator's
    expected = np.array(measured[reference][0]["first_losses"][:count], np.float64)
    differences = {}
    for name, records in measured.items():
        found = np.array(records[0]["first_losses"][:count], np.float64)
        difference = float(np.max(np.abs(found - expected) / np.abs(expected)))
        differences[name] = difference if math.isfinite(difference) else None
    return differences


def refusals(
    arms: Mapping[str, Arm],
    first_step: Mapping[str, float | None],
    differences: Mapping[str, float | None],
    certificate: Certificate,
) -> dict[str, str]:
    """Arms that get no ratio, and why."""
    refused = {}
    for name, arm in arms.items():
        if not certificate.holds:
            refused[name] = certificate.reason
            continue
        named = (("the losses of its first step", first_step[name]), ("its first losses", differences[name]))
        for (losses, difference), allowed in zip(named, SAME_WORK[arm.precision], strict=True):
            if difference is None:
                refused[name] = "a loss of its first steps, or of the arm it is held against, is not a number"
            elif difference > allowed:
                refused.setdefault(name, f"{losses} are {difference:.1e} off, where {allowed:.0e} is allowed")
    return refused


def weaker_evidence(
    arms: Mapping[str, Arm], differences: Mapping[str, float | None], refused: Mapping[str, str]
) -> dict[str, str]:
    """Arms whose ratio rests on less than the whole ladder, which climbs neither bfloat16 nor torch.compile."""
    found = {}
    for name, arm in arms.items():
        if name in refused:
            continue
        losses = f"the losses of its first {NUM_COMPARED_STEPS} steps ({differences[name]:.1e} off)"
        if arm.compiled or arm.precision == "bfloat16":
            found[name] = f"{losses}, nothing else: the ladder does without"
        elif arm.variant == "idiomatic":
            found[name] = f"float64 steps of the ladder, the first two and late ones (rungs 8, 9, 13), and {losses}"
    return found


def verdicts(
    arms: Mapping[str, Arm], measured: Mapping[str, Records], certificate: Certificate, control: Mapping[str, Any]
) -> dict[str, Any]:
    """Ratios of step times, "a/b", and break-even steps, of every two arms that may have one; none without control."""
    differences = first_loss_differences(arms, measured)
    first_step = first_loss_differences(arms, measured, num_steps=1)
    refused = refusals(arms, first_step, differences, certificate)
    allowed = [name for name in measured if name not in refused] if control["holds"] else []
    seconds = {name: step_seconds(measured[name]) for name in allowed}
    ratios = {f"{a}/{b}": ratio(seconds[a], seconds[b]) for a, b in permutations(allowed, 2)}
    return {
        "first_step_differences": first_step,
        "first_loss_differences": differences,
        "refused": refused,
        "weaker_evidence": weaker_evidence(arms, differences, refused),
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
    certificate: Certificate,
    control: Mapping[str, Any],
) -> dict[str, Any]:
    """Every arm, and what may be said of two."""
    roofs = {precision: roof[f"{precision}_gflops_per_second"] for precision in ("float32", "bfloat16")}
    return {
        "flops_per_step": flops,
        "roof": roof,
        "control": control,
        "parity": {"holds": certificate.holds, "reason": certificate.reason},
        "arms": {
            name: arm_result(arms[name], records, flops=flops, batch_size=config.batch_size, roofs=roofs)
            for name, records in measured.items()
        },
        **verdicts(arms, measured, certificate, control),
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
