"""The benchmark in words and tables: speed.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.records import FRAMEWORK_NAMES, write_atomically
from comparison.bench.figures import FIGURES, PHASES, draw
from comparison.sentences import SHOWN_CPU_FLAGS
from comparison.tables import NOTHING, duration, markdown, memory, number, percentage

ROOF_DRIFT = 0.05
NUM_MNIST_IMAGES = 60_000
SHOWN_PACKAGES = ("torch", "jax", "jaxlib", "flax")

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


# Why a form as the documentation teaches it is slower on a CPU (docs/decisions/0003-convolutions-in-jax.md).
IDIOMATIC_CAUSES = {
    "torch": "memory layout (channels_last), Adam in one kernel, and gradients of D that G's update only throws away",
    "jax": "one path of XLA's CPU compiler, an unoptimised loop for the kernel gradients of transposed convolutions "
    "(jax#31662)",
}


def headlines(result: Mapping[str, Any]) -> list[str]:
    """What a framework loses in the form that its documentation teaches, and why; then one framework to the other."""
    found = []
    for framework, cause in IDIOMATIC_CAUSES.items():
        slower = result["ratios"].get(f"{framework}-idiomatic/{framework}")
        if slower is not None:
            on_cpu = result["machine"]["devices"][framework] == "cpu"
            found.append(
                f"{FRAMEWORK_NAMES[framework]} as its documentation teaches it takes {interval_text(slower)} times as "
                f"long a step as tuned{f': {cause}' if on_cpu else ''}"
            )
    between = result["ratios"].get("jax/torch")
    if between is not None:
        found.append(f"Tuned, a step of JAX takes {interval_text(between)} times as long as PyTorch's")
    return found


def arm_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """Heading and one row an arm."""
    rows: list[Sequence[str]] = [
        (
            "arm",
            "ms a step (quartiles)",
            "images/s",
            "s an epoch of MNIST",
            "of the roof",
            "trace + compile",
            "peak memory",
        )
    ]
    batch_size, num_images = result["config"]["batch_size"], result["config"]["train_size"] or NUM_MNIST_IMAGES
    images = num_images // batch_size * batch_size
    for arm in result["arms"].values():
        step = arm["milliseconds_per_step"]
        rows.append(
            (
                arm["title"],
                f"{number(step['median'])} ({number(step['low'])} to {number(step['high'])})",
                number(arm["images_per_second"]),
                number(images / arm["images_per_second"]),
                percentage(arm["fraction_of_roof"]),
                duration(arm["compile_seconds"]),
                memory(arm["peak_memory_bytes"]),
            )
        )
    return rows


def phase_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """What comes before the steady state, and what is beside it."""
    rows: list[Sequence[str]] = [("arm", *PHASES.values(), "data, a step", "generating, an image")]
    for arm in result["arms"].values():
        rows.append(
            (
                arm["title"],
                *(duration(arm[name]) for name in PHASES),
                duration(arm["data_seconds_per_step"]),
                duration(arm["generate_seconds_per_image"]),
            )
        )
    return rows


def ratio_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """Of step times, and from which step on the slower start has paid."""
    rows: list[Sequence[str]] = [("step time of", "relative to", "ratio (95 % interval)", "compilation repaid at step")]
    for first, second in SHOWN_RATIOS:
        found = result["ratios"].get(f"{first}/{second}")
        if found is not None:
            step = result["break_even_steps"].get("/".join(sorted((first, second))))
            titles = [result["arms"][name]["title"] for name in (first, second)]
            rows.append((*titles, interval_text(found), NOTHING if step is None else f"{step:,}"))
    return rows


def quality_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """After each epoch: seconds of training so far, and the quick score."""
    rows: list[Sequence[str]] = [
        ("batch size", "arm", "epoch", "s of training so far", "+ compilation", "Fréchet distance, N = 2,000")
    ]
    for entry in result["quality"]:
        total = 0.0
        for epoch in entry["epochs"]:
            total += epoch["training_seconds"]
            rows.append(
                (
                    str(entry["batch_size"]),
                    entry["arm"],
                    str(epoch["epoch"]),
                    number(total),
                    number(total + entry["compile_seconds"]),
                    number(epoch["frechet_distance"]),
                )
            )
    return rows


def notices(result: Mapping[str, Any]) -> list[str]:
    """What must be read with the numbers: the control, the certificate, the roof, and who got no ratio."""
    control, roof = result["control"], result["roof"]
    interval = interval_text({"median": control["ratio"], "low": control["low"], "high": control["high"]})
    found = [f"Control: {control['arm']} against itself {interval}"]
    if not control["holds"]:
        found.append(
            "The same arm differs from itself: the machine changed while it was measured, so there is no verdict"
        )
    found.append(f"Parity: {result['parity']['reason']}")
    found += [f"No ratio for {name}: {reason}" for name, reason in result["refused"].items()]
    found += [f"{name}: {evidence}" for name, evidence in result["weaker_evidence"].items()]
    best = [f"{number(roof[f'{name}_gflops_per_second'])} GFLOP/s in {name}" for name in ("float32", "bfloat16")]
    found.append(f"Roof, the best matrix multiplication of either framework: {' and '.join(best)}")
    if roof["drift"] > ROOF_DRIFT:
        found.append(
            f"The roof moved by {percentage(roof['drift'])} from start to end: read shares of it with that in mind"
        )
    return found


def interval_text(found: Mapping[str, float]) -> str:
    """`0.67 (0.64 to 0.70)`."""
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Every number."""
    write_atomically(path, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())


def write_report(folder: Path, result: Mapping[str, Any]) -> None:
    """bench.json, speed.md and its figures, in a folder that is made if need be; a comparison's report shows them."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    write_json(folder / "bench.json", result)
    figures = draw(result)
    for name, content in figures.items():
        write_atomically(folder / "figures" / name, content)
    write_atomically(folder / "speed.md", page(result, [f"figures/{name}" for name in figures]).encode())


def page(result: Mapping[str, Any], figures: Sequence[str]) -> str:
    """The measured part of docs/results/speed.md; `figures` are paths as seen from it."""
    config = result["config"]
    sections = [
        f"### {config['preset']}, batch {config['batch_size']}, {config['precision']}",
        "\n".join(f"- **{sentence}.**" for sentence in headlines(result)),
        conditions(result),
        markdown(arm_rows(result)),
        "\n".join(f"- {sentence}" for sentence in notices(result)),
    ]
    if len(ratios := ratio_rows(result)) > 1:
        sections.append(markdown(ratios))
    sections.append(markdown(phase_rows(result)))
    for name, found in result["compilation"].items():
        sections.append(
            f"{result['arms'][name]['title']}: trace + compile {duration(found['cold_seconds'])} with an empty cache, "
            f"{duration(found['from_cache_seconds'])} from JAX's persistent cache (one process each)."
        )
    if result["batch_sizes"]:
        rows: list[Sequence[str]] = [("batch size", "arm", "ms a step", "images/s")]
        for entry in result["batch_sizes"]:
            step = number(entry["milliseconds_per_step"]["median"])
            rows.append((str(entry["batch_size"]), entry["arm"], step, number(entry["images_per_second"])))
        sections.append(markdown(rows))
    if result["quality"]:
        sections.append(markdown(quality_rows(result)))
    sections += [
        f"![{next(text for name, text in FIGURES.items() if path.endswith(name))}]({path})" for path in figures
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def conditions(result: Mapping[str, Any]) -> str:
    """On what, with what, and how often was measured."""
    machine = result["machine"]
    versions = ", ".join(
        f"{name} {machine['packages'][name]}" for name in SHOWN_PACKAGES if name in machine["packages"]
    )
    flags = ", ".join(flag for flag in machine["cpu_flags"] if flag in SHOWN_CPU_FLAGS)
    num_repetitions = next(iter(result["arms"].values()))["num_repetitions"]
    return (
        f"{machine['num_threads']} threads on {', '.join(dict.fromkeys(machine['devices'].values()))} ({flags}), "
        f"{versions}. {number(result['flops_per_step'] / 1e9)} GFLOP a step. {num_repetitions} processes an arm."
    )
