"""The benchmark in words, tables and figures: speed.md."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.records import write_atomically
from comparison.figures import COLOURS, STYLE
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
# File name -> what it shows.
FIGURES = {
    "phases.png": "Seconds before the first step, and milliseconds of a step",
    "batch_sizes.png": "Images per second over the batch size",
    "quality.png": "Fréchet distance over the seconds of training, with and without compilation",
}
PHASES = {
    "import_seconds": "import and start",
    "data_loading_seconds": "loading the data",
    "build_seconds": "build",
    "compile_seconds": "trace + compile",
}


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


def write_report(folder: Path, result: Mapping[str, Any]) -> None:
    """speed.md and its figures, in a folder that is made if need be."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    figures = draw(result)
    for name, content in figures.items():
        write_atomically(folder / "figures" / name, content)
    write_atomically(folder / "speed.md", page(result, [f"figures/{name}" for name in figures]).encode())


def page(result: Mapping[str, Any], figures: Sequence[str]) -> str:
    """The measured part of docs/results/speed.md; `figures` are paths as seen from it."""
    config, machine = result["config"], result["machine"]
    versions = ", ".join(
        f"{name} {machine['packages'][name]}" for name in SHOWN_PACKAGES if name in machine["packages"]
    )
    flags = ", ".join(flag for flag in machine["cpu_flags"] if flag in SHOWN_CPU_FLAGS)
    num_repetitions = next(iter(result["arms"].values()))["num_repetitions"]
    sections = [
        f"### {config['preset']}, batch {config['batch_size']}, {config['precision']}",
        f"{machine['num_threads']} threads on {', '.join(dict.fromkeys(machine['devices'].values()))} ({flags}), "
        f"{versions}. {number(result['flops_per_step'] / 1e9)} GFLOP a step. {num_repetitions} processes an arm.",
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
    return "\n\n".join(sections) + "\n"


def draw(result: Mapping[str, Any]) -> dict[str, bytes]:
    """File name to PNG."""
    with matplotlib.rc_context(STYLE):
        figures = {"phases.png": _phases_figure(result)}
        if result["batch_sizes"]:
            figures["batch_sizes.png"] = _batch_sizes_figure(result)
        if result["quality"]:
            figures["quality.png"] = _quality_figure(result)
        found = {}
        for name, figure in figures.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", facecolor="white")
            found[name] = buffer.getvalue()
        return found


def _phases_figure(result: Mapping[str, Any]) -> Figure:
    """Two panels: seconds before the first step, and milliseconds of a step."""
    arms = list(result["arms"].values())
    figure = Figure(figsize=(9.6, 0.6 + 0.55 * len(arms) + 0.7), layout="constrained")
    before, step = figure.subplots(1, 2, sharey=True)
    positions = range(len(arms))
    left = [0.0] * len(arms)
    shades = ("#c9ced6", "#a9b0bc", "#868f9e", "#4d5666")
    for (name, title), shade in zip(PHASES.items(), shades, strict=True):
        widths = [arm[name] for arm in arms]
        before.barh(positions, widths, left=left, color=shade, label=title, height=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    before.set(yticks=positions, yticklabels=[arm["title"] for arm in arms], xlabel="seconds before the first step")
    before.invert_yaxis()
    before.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
    for position, arm in zip(positions, arms, strict=True):
        found = arm["milliseconds_per_step"]
        step.barh(position, found["median"], color=COLOURS[arm["framework"]], height=0.6)
        step.plot([found["low"], found["high"]], [position, position], color="black", linewidth=1.5)
        step.annotate(number(found["median"]), (found["high"], position), xytext=(4, 0), va="center",
                      textcoords="offset points")  # fmt: skip
    step.set_xlabel("milliseconds a step: median, quartiles")
    step.margins(x=0.15)
    for axes in (before, step):
        axes.grid(axis="y", visible=False)
    return figure


def _batch_sizes_figure(result: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    sizes = sorted({entry["batch_size"] for entry in result["batch_sizes"]})
    speeds = {(entry["arm"], entry["batch_size"]): entry["images_per_second"] for entry in result["batch_sizes"]}
    for name in dict.fromkeys(entry["arm"] for entry in result["batch_sizes"]):
        measured = [speeds[name, size] for size in sizes]
        axes.plot(sizes, measured, "o-", color=COLOURS[name], label=result["arms"][name]["title"])
    axes.set_xscale("log", base=2)
    axes.set(xticks=sizes, xticklabels=map(str, sizes), xlabel="batch size", ylabel="images per second", ylim=(0, None))
    axes.legend(loc="lower right")
    return figure


def _quality_figure(result: Mapping[str, Any]) -> Figure:
    """One line an arm and batch size; dotted, the same with the seconds of compilation added."""
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    markers = dict(zip(sorted({entry["batch_size"] for entry in result["quality"]}), "osD^vP*X", strict=False))
    for entry in result["quality"]:
        seconds = np.cumsum([epoch["training_seconds"] for epoch in entry["epochs"]])
        distances = [epoch["frechet_distance"] for epoch in entry["epochs"]]
        label = f"{result['arms'][entry['arm']]['title']}, batches of {entry['batch_size']}"
        style: dict[str, Any] = {
            "color": COLOURS[entry["arm"]],
            "marker": markers[entry["batch_size"]],
            "markersize": 5,
        }
        axes.plot(seconds, distances, label=label, **style)
        dotted: dict[str, Any] = {**style, "markersize": 2, "linestyle": ":", "linewidth": 1}
        axes.plot(seconds + entry["compile_seconds"], distances, **dotted)
    axes.set(yscale="log", xlabel="seconds of training; dotted: with compilation", ylabel="Fréchet distance, N = 2,000")
    axes.set_xlim(0, None)
    axes.legend()
    return figure
