"""The benchmark's figures, each with its conclusion as its title."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.pictures.captions import run_words
from common.pictures.drawing import add_caption
from comparison.report.charts import Label, bar_plot, conclude, name_lines, plot
from comparison.report.figures import Drawn, conclusion
from comparison.report.palette import COLOURS, LIGHT, LINE_STYLES, MARKERS, PHASE_HATCHES, PHASE_SHADES, STYLE
from comparison.report.svg import figure_svg
from comparison.text import SHORT_NAMES, duration, number

# File name -> what it shows.
FIGURES = {
    "speeds.svg": "Images per second of each form: medians, quartiles",
    "phases.svg": "Seconds before the first step",
    "batch_sizes.svg": "Images per second over the batch size",
    "quality.svg": "Fréchet distance over the seconds of training; dotted: with compilation",
}
PHASES = {
    "import_seconds": "import and start",
    "data_loading_seconds": "loading the data",
    "build_seconds": "build",
    "first_block_extra_seconds": "first block",
}
FIRST_BLOCK_PARTS = {"compile_seconds": "first block: trace + compile", "rest": "first block: the rest"}
LABEL_WIDTH = 20  # characters of an arm's name in one line


def draw(result: Mapping[str, Any]) -> Drawn:
    """Each figure that the benchmark has numbers for."""
    with matplotlib.rc_context(STYLE):
        figures = {"speeds.svg": _speeds_figure(result), "phases.svg": _phases_figure(result)}
        if result["batch_sizes"]:
            figures["batch_sizes.svg"] = _batch_sizes_figure(result)
        if result["quality"]:
            figures["quality.svg"] = _quality_figure(result)
        for name, figure in figures.items():
            add_caption(figure, f"{FIGURES[name]}. {run_words(result['config'])}.")
        conclusions = {name: conclusion(figure) for name, figure in figures.items()}
        return Drawn({name: figure_svg(figure, name) for name, figure in figures.items()}, {}, conclusions)


def _bars(result: Mapping[str, Any], *, below: float = 0.0) -> tuple[Figure, Axes, list[Any]]:
    """Axes with a place for a bar an arm, and the arms; `below` are inches for more words below."""
    arms = list(result["arms"].values())
    names = [textwrap.fill(arm["title"].replace("networks by ", ""), LABEL_WIDTH) for arm in arms]
    return *bar_plot(names, width=5.8, height=1.35 + below), arms


def _speeds_figure(result: Mapping[str, Any]) -> Figure:
    figure, axes, arms = _bars(result)
    batch_size = result["config"]["batch_size"]
    for position, arm in enumerate(arms):
        slow, fast = (1e3 * batch_size / arm["milliseconds_per_step"][end] for end in ("high", "low"))
        speed = arm["images_per_second"]
        # As documented is hatched: it is told from tuned without colour.
        style: dict[str, Any] = {"hatch": "///", "edgecolor": LIGHT["page"]} if arm["variant"] == "idiomatic" else {}
        axes.barh(position, speed, color=COLOURS[arm["framework"]], height=0.62, linewidth=0, **style)
        axes.plot([slow, fast], [position, position], color=LIGHT["text"], linewidth=1.5)
        axes.annotate(number(speed), (max(speed, fast), position), xytext=(5, 0), va="center",
                      textcoords="offset points")  # fmt: skip
    hatched = " (hatched: as documented)" if any(arm["variant"] == "idiomatic" for arm in arms) else ""
    axes.set_xlabel(f"images per second{hatched}")
    axes.set_xlim(0, None)
    conclude(figure, _speed_conclusion(result))
    return figure


def _speed_conclusion(result: Mapping[str, Any]) -> str:
    tuned, documented = (result["ratios"].get(pair) for pair in ("jax/torch", "jax-idiomatic/torch-idiomatic"))
    if tuned is None:
        return "Images per second of each form; there is no ratio"
    longer = f"{tuned['median']:.2f} times"
    if documented is None:
        return f"Tuned, a step of JAX takes {longer} as long as PyTorch's"
    step = f"As documented, a step of JAX takes {documented['median']:.2f} times as long as PyTorch's"
    return f"{step}; tuned, {longer}"


def _phases_figure(result: Mapping[str, Any]) -> Figure:
    """Stacked bars, shades and hatches in the order of the phases."""
    figure, axes, arms = _bars(result, below=0.7)
    positions, left = range(len(arms)), [0.0] * len(arms)
    parts = {name: title for name, title in PHASES.items() if name != "first_block_extra_seconds"} | FIRST_BLOCK_PARTS
    # Where steps are long, the noise of a block may be more than the first one's extra.
    rests = [max(arm["first_block_extra_seconds"] - arm["compile_seconds"], 0.0) for arm in arms]
    for (name, title), shade, hatch in zip(parts.items(), PHASE_SHADES, PHASE_HATCHES, strict=True):
        widths = rests if name == "rest" else [arm[name] for arm in arms]
        axes.barh(positions, widths, left=left, color=shade, hatch=hatch, edgecolor=LIGHT["page"], label=title,
                  height=0.62, linewidth=0.5)  # fmt: skip
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for position, seconds in zip(positions, left, strict=True):
        axes.annotate(number(seconds), (seconds, position), xytext=(4, 0), va="center", textcoords="offset points")
    axes.set_xlabel("seconds before the first step")
    axes.set_xlim(0, None)
    slowest, fastest = (arms[pick(positions, key=left.__getitem__)]["title"] for pick in (max, min))
    later = f"; {slowest} after {duration(max(left))}" if len(arms) > 1 else ""
    conclude(figure, f"{fastest} is ready after {duration(min(left))}{later}")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.3, 0), borderaxespad=4.5, ncols=2, fontsize=9)  # below its words
    return figure


def _batch_sizes_figure(result: Mapping[str, Any]) -> Figure:
    figure, axes = plot()
    sizes = sorted({entry["batch_size"] for entry in result["batch_sizes"]})
    speeds = {(entry["arm"], entry["batch_size"]): entry["images_per_second"] for entry in result["batch_sizes"]}
    labels, gains = [], []
    for name in dict.fromkeys(entry["arm"] for entry in result["batch_sizes"]):
        framework = result["arms"][name]["framework"]
        measured = [speeds[name, size] for size in sizes]
        axes.plot(
            sizes, measured, marker=MARKERS[framework], color=COLOURS[framework], linestyle=LINE_STYLES[framework]
        )
        labels.append(Label(SHORT_NAMES[framework], measured[-1], COLOURS[framework], LINE_STYLES[framework]))
        gains.append(f"{measured[-1] / measured[0]:.2f} times as fast in {SHORT_NAMES[framework]}")
    axes.set_xscale("log", base=2)
    axes.set(xticks=sizes, xticklabels=map(str, sizes), xlabel="batch size", ylabel="images per second")
    axes.minorticks_off()
    axes.set_ylim(0, 1.08 * max(speeds.values()))
    conclude(figure, f"Batches of {sizes[-1]} instead of {sizes[0]}: {', '.join(gains)}")
    name_lines(axes, labels)
    return figure


def _quality_figure(result: Mapping[str, Any]) -> Figure:
    """One line an arm and batch size, its name at its end, and a dotted one that counts compilation as well."""
    figure, axes = plot(width=5.8, height=3.6)
    best: tuple[float, str] = (np.inf, "")
    for entry in sorted(result["quality"], key=lambda entry: entry["batch_size"]):
        framework = result["arms"][entry["arm"]]["framework"]
        seconds = np.cumsum([epoch["training_seconds"] for epoch in entry["epochs"]])
        distances = np.array([epoch["frechet_distance"] for epoch in entry["epochs"]], float)  # NaN if not scored
        style: dict[str, Any] = {"color": COLOURS[framework], "marker": MARKERS[framework]}
        axes.plot(seconds, distances, markersize=4.5, linestyle=LINE_STYLES[framework], **style)
        axes.annotate(f"{entry['batch_size']}", (seconds[-1], distances[-1]), xytext=(5, -3),
                      textcoords="offset points", fontsize=9)  # fmt: skip
        with_compilation = seconds + entry["first_chunk_extra_seconds"]
        axes.plot(with_compilation, distances, markersize=2, linestyle=":", linewidth=1, **style)
        named = f"{SHORT_NAMES[framework]} in batches of {entry['batch_size']}"
        if np.isfinite(distances[-1]):
            best = min(best, (float(distances[-1]), named))
    for framework in dict.fromkeys(result["arms"][entry["arm"]]["framework"] for entry in result["quality"]):
        axes.plot([], [], color=COLOURS[framework], marker=MARKERS[framework], linestyle=LINE_STYLES[framework],
                  label=SHORT_NAMES[framework])  # fmt: skip
    floors = [entry["floor"] for entry in result["quality"] if entry["floor"] is not None]
    if floors:
        axes.axhline(floors[0], color=COLOURS["real"], linewidth=1, linestyle=LINE_STYLES["real"], label="real digits")
    axes.set(yscale="log", xlabel="seconds of training (number: batch size)", ylabel="Fréchet distance, N = 2,000")
    axes.set_xlim(0, None)
    axes.margins(x=0.08)
    num_epochs = max(len(entry["epochs"]) for entry in result["quality"])
    conclude(figure, f"Nearest to real digits after {num_epochs} epochs: {best[1]}, at {number(best[0])}")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=3, borderaxespad=0, columnspacing=1.2)
    return figure
