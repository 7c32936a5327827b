"""One figure of a preset: every seed of both frameworks, and the interval of the difference against the margin."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evaluation.catalogue import METRICS
from common.pictures.drawing import figure_png
from common.records.folder import FRAMEWORK_NAMES
from comparison.report.palette import COLOURS, MARKERS, STYLE

HEIGHT = 2.3  # inches of one metric
MARGIN_COLOUR = "#dfe6df"


def draw(metrics: Mapping[str, Mapping[str, Any]]) -> bytes:
    """PNG: a row for each metric."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, HEIGHT * len(metrics)), layout="constrained")
        rows = figure.subplots(len(metrics), 2, squeeze=False, width_ratios=[3, 2])
        for (name, result), (seeds, difference) in zip(metrics.items(), rows, strict=True):
            _draw_seeds(seeds, result, title=METRICS[name].title)
            _draw_difference(difference, result)
        rows[0][0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1, columnspacing=1.0)
        return figure_png(figure)


def _draw_seeds(axes: Axes, result: Mapping[str, Any], *, title: str) -> None:
    """A dot a run, in the order of the seeds, so that a pair stands one above the other; a line at each mean."""
    axes.set_title(title, loc="left")
    for framework, scores in result["values"].items():
        values = np.array(scores, np.float64)  # None becomes NaN, which is not drawn
        label = FRAMEWORK_NAMES[framework]
        places = np.arange(len(values))
        axes.plot(places, values, MARKERS[framework], color=COLOURS[framework], markersize=4.5, alpha=0.85, label=label)
        if np.isfinite(values).any():
            axes.axhline(float(np.nanmean(values)), color=COLOURS[framework], linewidth=1, alpha=0.6)
    axes.set_xticks([])
    axes.set_xlabel("one place a seed")


def _draw_difference(axes: Axes, result: Mapping[str, Any]) -> None:
    """The margin as a band, the 90 % interval thick and the 95 % interval thin."""
    axes.set_title(result["verdict"], loc="left")
    axes.set(yticks=[], ylim=(-1, 1), xlabel="PyTorch minus JAX")
    axes.grid(axis="y", visible=False)
    if "difference" not in result:
        axes.text(0.5, 0.5, "a run has no score", transform=axes.transAxes, ha="center")
        return
    margin = result["margin"]
    axes.axvspan(-margin, margin, color=MARGIN_COLOUR, label=f"margin ±{margin:.3g}")
    axes.axvline(0, color="#9aa0a8", linewidth=1)
    colour = "#23272e"
    axes.plot([result["low95"], result["high95"]], [0, 0], color=colour, linewidth=1.2)
    axes.plot([result["low90"], result["high90"]], [0, 0], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot(result["difference"], 0, "D", color=colour, markersize=6)
    widest = max(margin, abs(result["low95"]), abs(result["high95"])) or 1.0
    axes.set_xlim(-1.15 * widest, 1.15 * widest)
    axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)
