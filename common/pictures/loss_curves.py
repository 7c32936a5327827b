"""Both losses over the steps of one run, as a PNG."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.pictures.drawing import figure_png
from common.records.series import LOSSES_HEADER

DPI = 150
COLOURS = {"discriminator_loss": "#1c2026", "generator_loss": "#2a9d6f"}
LABELS = {"discriminator_loss": "discriminator", "generator_loss": "generator"}
EXPECTED = "They need not fall: each network is the other's task."
STYLE: dict[Any, Any] = {
    "font.size": 11.5,  # which can be read on a phone
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e6ea",
    "legend.frameon": False,
}
MAX_GROUPS = 100
BAND = (5, 50, 95)  # percentiles: the band's lower edge, the line, the band's upper edge


class Band(NamedTuple):
    """Of each group of consecutive steps, its mean step and three percentiles of the values, each (N,)."""

    steps: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def steps_per_group(num_steps: int) -> int:
    """Consecutive steps that one point of a band stands for."""
    return max(1, -(-num_steps // MAX_GROUPS))


def quantile_band(steps: np.ndarray, values: np.ndarray, *, edges: np.ndarray | None = None) -> Band:
    """Where nine steps of ten lie, NaN left out; `edges` are the first indices of groups of unequal size."""
    if edges is None:
        edges = np.arange(steps_per_group(len(steps)), len(steps), steps_per_group(len(steps)))
    groups = [
        (steps[group].mean(), *np.percentile(known, BAND))
        for group in np.split(np.arange(len(steps)), edges)
        if len(known := values[group][np.isfinite(values[group])])
    ]
    return Band(*np.reshape(groups, (-1, 4)).T)


def plot_band(axes: Axes, band: Band, *, color: str, **style: Any) -> None:
    """The band pale, its median bold and above every band."""
    axes.fill_between(band.steps, band.low, band.high, color=color, alpha=0.18, linewidth=0, zorder=1.9)
    axes.plot(band.steps, band.median, color=color, linewidth=1.6, **style)


def draw_losses(rows: Sequence[tuple[float, ...]], title: str) -> bytes:
    """A PNG of rows of losses.csv: the band in which nine steps of ten lie, and the median."""
    table = np.array(rows, dtype=np.float64)
    columns: dict[str, np.ndarray] = dict(zip(LOSSES_HEADER, table.T, strict=True))
    grouped = steps_per_group(len(table))
    steps, last_epoch = columns["step"], columns["epoch"][-1]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.8), layout="constrained", dpi=DPI)
        axes = figure.add_subplot()
        bands = {name: quantile_band(steps, columns[name]) for name in COLOURS}
        for name, colour in COLOURS.items():
            plot_band(axes, bands[name], color=colour, label=LABELS[name])
        meaning = f"; line: median of {grouped} steps, band: 90 % of them" if grouped > 1 else ""
        figure.suptitle(title, weight="bold", x=0.01, ha="left", parse_math=False)  # anyone may name a dataset
        axes.set_title(EXPECTED, fontsize="medium", pad=24)
        axes.set_xlabel(f"step ({round(steps[-1] / last_epoch)} to an epoch){meaning}")
        axes.set_ylabel("loss")
        axes.set_xlim(steps[0] - 1, max(steps[-1], steps[0] + 1))
        highest = max((band.high.max() for band in bands.values() if len(band.high)), default=0)
        axes.set_ylim(0, 1.1 * highest or 1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, borderaxespad=0)  # below the title
        return figure_png(figure)
