"""Quality over training seeds as dots: one a seed and framework, beside what real digits score."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.evaluation.catalogue import METRICS
from comparison.report.charts import conclude
from comparison.report.palette import COLOURS, MARKERS, STYLE
from comparison.report.svg import figure_svg
from comparison.text import SHORT_NAMES, number

SHOWN = ("frechet_distance", "kid", "mnist_score", "precision", "recall", "coverage")
CAPTION = "Metrics of each training seed as dots, both frameworks beside each other"


def draw(values: Mapping[str, Mapping[str, Sequence[float]]], floors: Mapping[str, float], *, num_apart: int) -> bytes:
    """Metric to framework to one value a seed; `num_apart` of all metrics differ by more than seeds do."""
    shown = [name for name in SHOWN if name in values]
    num_seeds = len(next(iter(values[shown[0]].values())))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.8, 0.85 * len(shown) + 1.0), layout="constrained")
        for axes, metric in zip(figure.subplots(len(shown), 1), shown, strict=True):
            for height, (framework, found) in enumerate(values[metric].items()):
                style = {"color": COLOURS[framework], "marker": MARKERS[framework], "linestyle": ""}
                axes.plot(found, [height] * len(found), markersize=6, alpha=0.85, **style)
                axes.plot([np.mean(found)] * 2, [height - 0.3, height + 0.3], color=COLOURS[framework], linewidth=1.5)
            everything = np.concatenate([*values[metric].values()])
            margin = 0.12 * (np.ptp(everything) or 1)
            axes.set(xlim=(everything.min() - margin, everything.max() + margin), ylim=(-0.7, 1.7))
            axes.set(yticks=[0, 1], yticklabels=[SHORT_NAMES[name] for name in values[metric]])
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.invert_yaxis()
            axes.grid(axis="y", visible=False)
            axes.spines["left"].set_visible(False)
            title = METRICS[metric].title
            arrow = {"up": "more is better", "down": "less is better"}.get(METRICS[metric].better, "")
            axes.set_title(f"{title} ({arrow}; real digits {number(floors[metric])})", fontsize=9.5, weight="normal")
        conclude(
            figure, f"In {len(values) - num_apart} of {len(values)} metrics the twins differ by no more than seeds do"
        )
        figure.supxlabel(f"A dot a training seed (n = {num_seeds}), a line their mean.", x=0.01, ha="left", fontsize=9)
        return figure_svg(figure, "seeds")
