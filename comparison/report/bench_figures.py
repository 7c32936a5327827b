"""The benchmark's figures."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.pictures.captions import run_words
from common.pictures.drawing import add_caption, figure_png
from comparison.report.figures import COLOURS, STYLE
from comparison.text import number

# File name -> what it shows.
FIGURES = {
    "phases.png": "Seconds before the first step, and milliseconds of a step with what gathering its data adds",
    "batch_sizes.png": "Images per second over the batch size",
    "quality.png": "Fréchet distance over the seconds of training, with and without compilation",
}
PHASES = {
    "import_seconds": "import and start",
    "data_loading_seconds": "loading the data",
    "build_seconds": "build",
    "first_block_extra_seconds": "first block",
}
FIRST_BLOCK_PARTS = {"compile_seconds": "first block: trace + compile", "rest": "first block: the rest"}


def draw(result: Mapping[str, Any]) -> dict[str, bytes]:
    """File name to PNG of each figure that the benchmark has numbers for."""
    with matplotlib.rc_context(STYLE):
        figures = {"phases.png": _phases_figure(result)}
        if result["batch_sizes"]:
            figures["batch_sizes.png"] = _batch_sizes_figure(result)
        if result["quality"]:
            figures["quality.png"] = _quality_figure(result)
        for name, figure in figures.items():
            add_caption(figure, f"{FIGURES[name]}. {run_words(result['config'])}.")
        return {name: figure_png(figure) for name, figure in figures.items()}


def _phases_figure(result: Mapping[str, Any]) -> Figure:
    """Two panels: seconds before the first step, and milliseconds of a step."""
    arms = list(result["arms"].values())
    figure = Figure(figsize=(10.4, 0.6 + 0.55 * len(arms) + 0.8), layout="constrained")
    before, step = figure.subplots(1, 2, sharey=True)
    positions = range(len(arms))
    left = [0.0] * len(arms)
    shades = ("#d5d9e0", "#aeb5c0", "#7f8896", "#3c4452", "#b39ddb")
    parts = {name: title for name, title in PHASES.items() if name != "first_block_extra_seconds"} | FIRST_BLOCK_PARTS
    # Where steps are long, the noise of a block may be more than the first one's extra.
    rests = [max(arm["first_block_extra_seconds"] - arm["compile_seconds"], 0.0) for arm in arms]
    for (name, title), shade in zip(parts.items(), shades, strict=True):
        widths = rests if name == "rest" else [arm[name] for arm in arms]
        before.barh(positions, widths, left=left, color=shade, label=title, height=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    before.set(yticks=positions, yticklabels=[arm["title"] for arm in arms], xlabel="seconds before the first step")
    before.invert_yaxis()
    for position, arm in zip(positions, arms, strict=True):
        found = arm["milliseconds_per_step"]
        step.barh(position, found["median"], color=COLOURS[arm["framework"]], height=0.6)
        step.plot([found["low"], found["high"]], [position, position], color="black", linewidth=1.5)
        data = 1e3 * arm["data_seconds_per_step"]
        label = "gathering a step's data" if position == 0 else None
        step.barh(position, data, left=found["median"], color=shades[0], height=0.6, label=label)
        step.annotate(number(found["median"]), (max(found["high"], found["median"] + data), position), xytext=(4, 0),
                      va="center", textcoords="offset points")  # fmt: skip
    figure.legend(loc="outside upper right", ncols=3)
    step.set_xlabel("milliseconds a step: median, quartiles")
    step.margins(x=0.2)
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
    axes.set(xticks=sizes, xticklabels=map(str, sizes), xlabel="batch size", ylabel="images per second")
    axes.set_ylim(0, 1.08 * max(speeds.values()))
    axes.legend(loc="lower right")
    return figure


def _quality_figure(result: Mapping[str, Any]) -> Figure:
    """One line an arm and batch size, and a dotted one that counts the seconds of compilation as well."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    markers = dict(zip(sorted({entry["batch_size"] for entry in result["quality"]}), "osD^vP*X", strict=False))
    for entry in sorted(result["quality"], key=lambda entry: entry["batch_size"]):
        seconds = np.cumsum([epoch["training_seconds"] for epoch in entry["epochs"]])
        distances = np.array([epoch["frechet_distance"] for epoch in entry["epochs"]], float)  # NaN if not scored
        label = f"{result['arms'][entry['arm']]['title']}, batches of {entry['batch_size']}"
        style: dict[str, Any] = {"color": COLOURS[entry["arm"]], "marker": markers[entry["batch_size"]]}
        axes.plot(seconds, distances, markersize=5, label=label, **style)
        seconds += entry["first_chunk_extra_seconds"]
        axes.plot(seconds, distances, markersize=2, linestyle=":", linewidth=1, **style)
    floors = [entry["floor"] for entry in result["quality"] if entry["floor"] is not None]
    if floors:
        axes.axhline(floors[0], color="black", linewidth=1, linestyle="--", label="real digits")
    axes.set(yscale="log", xlabel="seconds of training; dotted: with compilation", ylabel="Fréchet distance, N = 2,000")
    axes.set_xlim(0, None)
    figure.legend(loc="outside right upper")  # lines go everywhere
    return figure
