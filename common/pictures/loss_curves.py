"""Both losses over the steps of one run, as a PNG."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.records.series import LOSSES_HEADER

DPI = 150
COLOURS = {"discriminator_loss": "#3d4451", "generator_loss": "#128a63"}
LABELS = {"discriminator_loss": "discriminator", "generator_loss": "generator"}
STYLE: dict[Any, Any] = {
    "font.size": 10,
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
            axes.plot(steps, columns[name], color=colour, linewidth=0.5, alpha=0.25)
            smooth_steps, smooth = (
                np.convolve(values, np.ones(window) / window, mode="valid") for values in (steps, columns[name])
            )
            axes.plot(smooth_steps, smooth, color=colour, linewidth=1.6, label=LABELS[name])
        average = f"; bold: moving average over {window} steps" if window > 1 else ""
        axes.set_title(title, weight="bold")
        axes.set_xlabel(f"step ({round(steps[-1] / last_epoch)} to an epoch){average}")
        axes.set_ylabel("loss")
        axes.set_xlim(steps[0] - 1, max(steps[-1], steps[0] + 1))
        losses = np.concatenate([columns[name] for name in COLOURS])
        axes.set_ylim(0, 1.1 * np.percentile(losses, 99) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2, borderaxespad=0)  # beside the title
        content = io.BytesIO()
        figure.savefig(content, format="png", facecolor="white", dpi=DPI)
    return content.getvalue()
