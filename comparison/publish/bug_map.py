"""The planted bugs of the parity page as a map: which rung catches each, and by how much."""

import math
import re
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from comparison.parity.ladder import RUNGS
from comparison.report.palette import LIGHT, STYLE
from comparison.report.svg import figure_svg

NEVER_MEASURED = 1e15  # what stands for a tensor that does not even fit
TABLE_HEAD = ("bug", "planted in", "first caught by", "measured")
RUNG_NAMES = [f"{number} {rung.__name__.replace('_', ' ')}" for number, rung in enumerate(RUNGS)]
CAPTION = "Each planted bug, the first rung of the ladder that catches it, and how far beyond the tolerance"


class Caught(NamedTuple):
    """One bug: its rung, None if it is missed, and its measurement over the tolerance."""

    bug: str
    rung: int | None
    factor: float


def read_table(recorded: str) -> list[Caught]:
    """The rows of the page's table of planted bugs."""
    found = []
    for line in recorded.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| ") else []
        if len(cells) == len(TABLE_HEAD) and re.fullmatch(r"[\w/]+\.py", cells[1]):
            bug, _, rung, outcome = cells
            found.append(Caught(bug, RUNG_NAMES.index(rung) if rung else None, _factor(outcome)))
    return found


def _factor(outcome: str) -> float:
    numbers = re.fullmatch(r"([\d.e+-]+) of ([\d.e+-]+)", outcome)
    if numbers is None or float(numbers[2]) == 0:
        return NEVER_MEASURED
    return float(numbers[1]) / float(numbers[2])


def draw(bugs: list[Caught]) -> bytes:
    """Rungs across, bugs down in the order in which they are caught, each with its name beside its mark."""
    ordered = sorted(bugs, key=lambda found: (found.rung is None, found.rung or 0, -found.factor))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.17 * len(ordered) + 1.5), layout="constrained")
        axes = figure.add_subplot()
        shades = matplotlib.colormaps["cividis_r"]
        for line, found in enumerate(ordered):
            if found.rung is None:
                axes.annotate(f"missed: {found.bug}", (0, line), va="center", fontsize=7.5, color=LIGHT["bad"])
                continue
            share = min(math.log10(max(found.factor, 1)) / math.log10(NEVER_MEASURED), 1)
            axes.barh(line, 0.9, left=found.rung - 0.45, height=0.86, color=shades(0.15 + 0.85 * share))
            on_left = found.rung > len(RUNGS) / 2
            axes.annotate(found.bug, (found.rung + (-0.55 if on_left else 0.55), line), va="center", fontsize=7.5,
                          ha="right" if on_left else "left", parse_math=False)  # fmt: skip
        axes.set(xlim=(-0.6, len(RUNGS) - 0.4), ylim=(len(ordered) - 0.4, -0.6), yticks=[], xticks=range(len(RUNGS)))
        axes.set_xticklabels(RUNG_NAMES, rotation=40, ha="left", fontsize=8)
        axes.xaxis.tick_top()
        axes.grid(axis="y", visible=False)
        axes.spines[:].set_visible(False)
        caught = sum(found.rung is not None for found in ordered)
        busiest = np.bincount([found.rung for found in ordered if found.rung is not None])
        axes.set_title(
            f"{caught} of {len(ordered)} planted bugs are caught, {busiest.max()} of them by rung {busiest.argmax()}",
            pad=12,
        )
        figure.supxlabel(
            "Darker: further beyond the tolerance. A bug's name stands beside the first rung that catches it.",
            x=0.01, ha="left", fontsize=9, color=LIGHT["soft"],
        )  # fmt: skip
        return figure_svg(figure, "planted_bugs")
