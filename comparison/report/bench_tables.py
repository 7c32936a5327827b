"""The benchmark's tables, as rows of cells: a heading, then one row an arm, a ratio, an epoch, a batch size."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.bench.verdicts import CACHES
from comparison.report.bench_figures import PHASES
from comparison.text import NOTHING, duration, memory, number, percentage

# Which ratios are shown, if both arms are there: every one is in the JSON.
SHOWN_RATIOS = (
    ("torch", "torch-idiomatic"),
    ("torch-compile", "torch"),
    ("jax", "jax-idiomatic"),
    ("jax", "torch"),
    ("jax-idiomatic", "torch-idiomatic"),
    ("torch-bfloat16", "torch"),
    ("jax-bfloat16", "jax"),
    ("jax-bfloat16", "torch-bfloat16"),
)


def tables(result: Mapping[str, Any]) -> list[list[Sequence[str]]]:
    """Those that have rows."""
    kinds = (arm_rows, ratio_rows, phase_rows, compilation_rows, batch_size_rows, quality_rows)
    return [rows for kind in kinds if len(rows := kind(result)) > 1]


def arm_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """Heading and one row an arm."""
    rows: list[Sequence[str]] = [
        (
            "arm",
            "ms a step (quartiles)",
            "images/s",
            "s an epoch",
            "of the roof",
            "first block",
            "peak memory",
        )
    ]
    batch_size = result["config"]["batch_size"]
    images = result["num_images"] // batch_size * batch_size
    for arm in result["arms"].values():
        step = arm["milliseconds_per_step"]
        rows.append(
            (
                arm["title"],
                f"{number(step['median'])} ({number(step['low'])} to {number(step['high'])})",
                number(arm["images_per_second"]),
                number(images / arm["images_per_second"]),
                percentage(arm["fraction_of_roof"]),
                duration(arm["first_block_extra_seconds"]),
                memory(arm["peak_memory_bytes"]),
            )
        )
    return rows


def phase_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """What comes before the steady state, and what is beside it."""
    rows: list[Sequence[str]] = [
        (
            "arm",
            *PHASES.values(),
            "trace + compile in the first block",
            "warm-up",
            "gathering data, a step (not in ms a step)",
            "generating, an image",
        )
    ]
    for arm in result["arms"].values():
        rows.append(
            (
                arm["title"],
                *(duration(arm[name]) for name in PHASES),
                duration(arm["compile_seconds"]),
                duration(arm["warm_up_seconds"]),
                duration(arm["data_seconds_per_step"]),
                duration(arm["generate_seconds_per_image"]),
            )
        )
    return rows


def ratio_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """Of step times, and from which step on the slower start has paid."""
    rows: list[Sequence[str]] = [
        ("step time of", "relative to", "ratio (95 % interval)", "sameness rests on", "repaid at step")
    ]
    for first, second in SHOWN_RATIOS:
        found = result["ratios"].get(f"{first}/{second}")
        if found is not None:
            titles = [result["arms"][name]["title"] for name in (first, second)]
            weaker = [name for name in (first, second) if name in result["weaker_evidence"]]
            evidence = "less (below)" if weaker else "the ladder"
            rows.append((*titles, interval_text(found), evidence, _repaid(result, first, second)))
    return rows


def _repaid(result: Mapping[str, Any], first: str, second: str) -> str:
    pair = "/".join(sorted((first, second)))
    if pair not in result["break_even_steps"]:
        return NOTHING
    step = result["break_even_steps"][pair]
    return "never" if step is None else f"{step:,}"


def quality_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """After each epoch: seconds of training so far, and the quick score."""
    rows: list[Sequence[str]] = [
        (
            "batch size",
            "arm",
            "epoch",
            "s of training so far",
            "+ first chunk's extra",
            "Fréchet distance, N = 2,000",
            "of real digits",
        )
    ]
    for entry in sorted(result["quality"], key=lambda entry: entry["batch_size"]):
        total = 0.0
        for epoch in entry["epochs"]:
            total += epoch["training_seconds"]
            rows.append(
                (
                    str(entry["batch_size"]),
                    result["arms"][entry["arm"]]["title"],
                    str(epoch["epoch"]),
                    number(total),
                    number(total + entry["first_chunk_extra_seconds"]),
                    number(epoch["frechet_distance"]),
                    number(entry["floor"]),
                )
            )
    return rows


def compilation_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """JAX's persistent cache: what it saves, and what the step that comes from it takes. One process each."""
    rows: list[Sequence[str]] = [
        (
            "arm",
            "trace + compile, empty cache",
            "trace + compile, full cache",
            "first block, empty cache",
            "first block, full cache",
            "ms a step, compiled",
            "ms a step, from the cache",
        )
    ]
    for name, found in result["compilation"].items():
        rows.append(
            (
                result["arms"][name]["title"],
                *(duration(found[f"{cache}_compile_seconds"]) for cache in CACHES),
                *(duration(found[f"{cache}_first_block_extra_seconds"]) for cache in CACHES),
                *(number(found[f"{cache}_milliseconds_per_step"]) for cache in CACHES),
            )
        )
    return rows


def batch_size_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """No ratios: each size would need a certificate of its own."""
    rows: list[Sequence[str]] = [("batch size", "arm", "ms a step", "images/s", "s an epoch")]
    for entry in result["batch_sizes"]:
        size, speed = entry["batch_size"], entry["images_per_second"]
        step = number(entry["milliseconds_per_step"]["median"])
        seconds = number(result["num_images"] // size * size / speed)
        rows.append((str(size), result["arms"][entry["arm"]]["title"], step, number(speed), seconds))
    return rows


def interval_text(found: Mapping[str, float]) -> str:
    """`0.67 (0.64 to 0.70)`."""
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
