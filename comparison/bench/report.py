"""The benchmark in words and tables: speed.md."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.records import FRAMEWORK_NAMES, write_atomically
from comparison.bench.figures import FIGURES, PHASES, draw
from comparison.sentences import SHOWN_CPU_FLAGS
from comparison.tables import NOTHING, duration, markdown, memory, number, percentage

RESULT_FILE = "bench.json"
ROOF_DRIFT = 0.05
SHOWN_PACKAGES = ("torch", "jax", "jaxlib", "flax", "optax")
# What the columns mean; wherever the tables go, so do these.
DEFINITIONS = {
    "ms a step": "the median over processes of each process's median block, and quartiles over processes. A block is "
    "the steps of one `train_chunk`, from images and latents that lie ready in memory to the one wait for all results",
    "of the roof": "the layers' arithmetic, one count for both frameworks, over the best matrix multiplication that "
    "any measured framework reaches in the same run, with as many threads and the same precision",
    "first block": "what the first block takes beyond a later one: trace + compile in JAX, in PyTorch thread pools and "
    "the choice of kernels, with torch.compile its compilation",
    "ratio": "the median over repetitions of the ratio within a repetition, and its 95 % bootstrap interval. There is "
    "one only if the first arm against itself gives a narrow interval around 1, if the ladder holds for the tuned "
    "forms, and if the arm's first losses are those of the others",
    "sameness rests on": "what shows that both arms do the same work: the whole parity ladder, or less",
    "repaid at step": "from where on the arm that starts more slowly is ahead; - where the ratio's interval contains 1",
}

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
    "jax": "one path of XLA's CPU compiler, the unoptimised loop that kernel gradients of transposed convolutions "
    "fall into (jax#31662)",
}


def headlines(result: Mapping[str, Any]) -> list[str]:
    """What a framework loses in the form that its documentation teaches, and why; then one framework to the other."""
    found = []
    for framework, cause in IDIOMATIC_CAUSES.items():
        slower = result["ratios"].get(f"{framework}-idiomatic/{framework}")
        if slower is not None:
            # Where the cause was found; elsewhere it may be another.
            explained = (
                slower["low"] > 1
                and result["machine"]["devices"][framework] == "cpu"
                and result["config"]["precision"] == "float32"
                and result["num_transposed_convolutions"] > 0
            )
            found.append(
                f"A step of {FRAMEWORK_NAMES[framework]} as its documentation teaches it takes {interval_text(slower)} "
                f"times as long as a tuned one{f', mostly through {cause}' if explained else ''}"
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
                duration(arm["compile_seconds"]),
                memory(arm["peak_memory_bytes"]),
            )
        )
    return rows


def phase_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """What comes before the steady state, and what is beside it."""
    rows: list[Sequence[str]] = [
        ("arm", *PHASES.values(), "warm-up", "gathering data, a step (not in ms a step)", "generating, an image")
    ]
    for arm in result["arms"].values():
        rows.append(
            (
                arm["title"],
                *(duration(arm[name]) for name in PHASES),
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
            rows.append((*titles, interval_text(found), evidence, _repaid(result, first, second, found)))
    return rows


def _repaid(result: Mapping[str, Any], first: str, second: str, found: Mapping[str, float]) -> str:
    if found["low"] <= 1 <= found["high"]:
        return NOTHING
    step = result["break_even_steps"]["/".join(sorted((first, second)))]
    return "never" if step is None else f"{step:,}"


def quality_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """After each epoch: seconds of training so far, and the quick score."""
    rows: list[Sequence[str]] = [
        (
            "batch size",
            "arm",
            "epoch",
            "s of training so far",
            "+ compilation",
            "Fréchet distance, N = 2,000",
            "of real digits",
        )
    ]
    for entry in result["quality"]:
        total = 0.0
        for epoch in entry["epochs"]:
            total += epoch["training_seconds"]
            rows.append(
                (
                    str(entry["batch_size"]),
                    result["arms"][entry["arm"]]["title"],
                    str(epoch["epoch"]),
                    number(total),
                    number(total + entry["compile_seconds"]),
                    number(epoch["frechet_distance"]),
                    number(entry["floor"]),
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
    found += [f"That {name} does the same rests on {text}" for name, text in result["weaker_evidence"].items()]
    found += [f"Not measured: {text}" for text in result["failed"]]
    best = [f"{number(roof[f'{name}_gflops_per_second'])} GFLOP/s in {name}" for name in ("float32", "bfloat16")]
    found.append(f"Roof, the best matrix multiplication of the measured frameworks: {' and '.join(best)}")
    if result["quality"]:
        found.append(
            f"Quality is of one run each (seed {result['config']['seed']}), PyTorch's epochs before JAX's, "
            "with one learning rate at every batch size"
        )
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
    write_json(folder / RESULT_FILE, result)
    figures = draw(result)
    for name, content in figures.items():
        write_atomically(folder / "figures" / name, content)
    text = f"{definitions()}\n\n{page(result, [f'figures/{name}' for name in figures])}"
    write_atomically(folder / "speed.md", text.encode())


def page(result: Mapping[str, Any], figures: Sequence[str]) -> str:
    """One benchmark of docs/results/speed.md; `figures` are paths as seen from it."""
    sections = [
        f"### {title(result)}",
        "\n".join(f"- **{sentence}.**" for sentence in headlines(result)),
        f"    {shlex.join(result['protocol']['command'])}",
        conditions(result),
        *map(markdown, tables(result)),
        "\n".join(f"- {sentence}" for sentence in notices(result)),
    ]
    for path in figures:
        caption = next(text for name, text in FIGURES.items() if path.endswith(name))
        sections.append(f"![{caption}]({path})")
    return "\n\n".join(filter(None, sections)) + "\n"


def definitions() -> str:
    """What the columns mean, as a list."""
    return "\n".join(f"- **{name}**: {text}." for name, text in DEFINITIONS.items())


def title(result: Mapping[str, Any]) -> str:
    """`dcgan32-wide, batch 128, float32`."""
    return "{preset}, batch {batch_size}, {precision}".format_map(result["config"])


def tables(result: Mapping[str, Any]) -> list[list[Sequence[str]]]:
    """Those that have rows."""
    kinds = (arm_rows, ratio_rows, phase_rows, compilation_rows, batch_size_rows, quality_rows)
    return [rows for kind in kinds if len(rows := kind(result)) > 1]


def compilation_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """JAX's persistent cache: what it saves, and what the step that comes from it takes. One process each."""
    rows: list[Sequence[str]] = [
        ("arm", "trace + compile, empty cache", "full cache", "ms a step, compiled", "from the cache")
    ]
    for name, found in result["compilation"].items():
        rows.append(
            (
                result["arms"][name]["title"],
                duration(found["cold_seconds"]),
                duration(found["from_cache_seconds"]),
                number(found["cold_milliseconds"]),
                number(found["from_cache_milliseconds"]),
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


def conditions(result: Mapping[str, Any]) -> str:
    """On what, with what, and how often was measured."""
    machine, protocol = result["machine"], result["protocol"]
    versions = ", ".join(
        f"{name} {machine['packages'][name]}" for name in SHOWN_PACKAGES if name in machine["packages"]
    )
    cpu_flags = ", ".join(flag for flag in machine["cpu_flags"] if flag in SHOWN_CPU_FLAGS)
    flags = [f"{name}={value}" for name, value in machine["environment_variables"].items()]
    for framework, found in machine["device_flags"].items():
        flags += [f"{framework}: {name}={value}" for name, value in found.items() if value != ""]
    return (
        f"{machine['num_threads']} threads of {machine['num_cpus']} CPUs, device "
        f"{', '.join(dict.fromkeys(machine['devices'].values()))} ({cpu_flags}), {memory(machine['memory_bytes'])}; "
        f"Python {machine['python']}, {versions}; {', '.join(flags)}. "
        f"{number(result['flops_per_step'] / 1e9)} GFLOP a step. {protocol['repetitions']} processes an arm, in each "
        f"{protocol['num_warm_up_blocks'] + 1} blocks of {protocol['steps_per_block']} steps to start and "
        f"{protocol['num_blocks']} that count. Begun {protocol['started_at']}."
    )
