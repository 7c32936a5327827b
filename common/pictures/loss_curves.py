"""Both losses over the steps of one run, as a PNG."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.pictures.drawing import figure_png
from common.records.series import LOSSES_HEADER

DPI = 150
COLOURS = {"discriminator_loss": "#3d4451", "generator_loss": "#128a63"}
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


def smoothing_window(num_steps: int) -> int:
    """Steps in the moving average drawn over the raw losses."""
    return max(1, num_steps // 100)


def plot_smoothed(axes: Axes, steps: np.ndarray, values: np.ndarray, *, color: str, **style: Any) -> None:
    """Every step faint, their moving average bold and above all that is faint."""
    window = smoothing_window(len(steps))
    axes.plot(steps, values, color=color, linewidth=0.5, alpha=0.25, zorder=1.9)
    averages = (np.convolve(each, np.ones(window) / window, mode="valid") for each in (steps, values))
    axes.plot(*averages, color=color, linewidth=1.6, **style)


def draw_losses(rows: Sequence[tuple[float, ...]], title: str) -> bytes:
    """A PNG of rows of losses.csv: every step faint, their moving average bold; all but the highest 1 % in view."""
    table = np.array(rows, dtype=np.float64)
    columns: dict[str, np.ndarray] = dict(zip(LOSSES_HEADER, table.T, strict=True))
    window = smoothing_window(len(table))
    steps, last_epoch = columns["step"], columns["epoch"][-1]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.8), layout="constrained", dpi=DPI)
        axes = figure.add_subplot()
        for name, colour in COLOURS.items():
            plot_smoothed(axes, steps, columns[name], color=colour, label=LABELS[name])
        average = f"; bold: moving average over {window} steps" if window > 1 else ""
        figure.suptitle(title, weight="bold", x=0.01, ha="left", parse_math=False)  # anyone may name a dataset
        axes.set_title(EXPECTED, fontsize="medium", pad=24)
        axes.set_xlabel(f"step ({round(steps[-1] / last_epoch)} to an epoch){average}")
        axes.set_ylabel("loss")
        axes.set_xlim(steps[0] - 1, max(steps[-1], steps[0] + 1))
        losses = np.concatenate([columns[name] for name in COLOURS])
        axes.set_ylim(0, 1.1 * np.percentile(losses, 99) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, borderaxespad=0)  # below the title
        return figure_png(figure)
