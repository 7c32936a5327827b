"""Charts of the report: each has its conclusion as its title, and a name beside each line instead of a legend."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.pictures.loss_curves import COLOURS as LOSS_COLOURS
from common.pictures.loss_curves import plot_band, quantile_band
from common.records.recorded_run import RecordedRun, Runs
from common.records.series import EpochsRow
from comparison.report.palette import COLOURS, LIGHT, LINE_STYLES, MARKERS
from comparison.report.summary import LOSS_COLUMNS, PARTED_AT, first_step_above, last_epoch_means, relative_difference
from comparison.text import SHORT_NAMES, number

CHART_TITLES = {
    "discriminator_loss": "Discriminator loss",
    "generator_loss": "Generator loss",
    "real_score": "D(x): score of real images",
    "fake_score": "D(G(z)): score of generated images",
}
NUM_GROUPS_OF_DIFFERENCES = 60
TITLE_POINTS, CHARACTERS_PER_INCH = 11, 10.5
LINE_POINTS = 13.0  # between two names beside lines


class Label(NamedTuple):
    """A name to be written beside the right end of its line."""

    words: str
    height: float  # of the line's end, in data
    colour: str
    line_style: Any = "-"


def plot(*, width: float = 5.2, height: float = 3.0) -> tuple[Figure, Axes]:
    """One chart, as wide as a phone can show with letters that can be read there."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def bar_plot(names: Sequence[str], *, width: float, height: float) -> tuple[Figure, Axes]:
    """One chart with a place for a horizontal bar beside each name, the first above; `height` is without the places."""
    figure, axes = plot(width=width, height=height + 0.42 * len(names))
    axes.set(yticks=range(len(names)), yticklabels=names)
    axes.tick_params(axis="y", labelsize=9)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.14)  # for the number beside a bar
    axes.invert_yaxis()
    return figure, axes


def conclude(figure: Figure, words: str) -> None:
    """Write the conclusion above everything, from the left edge on, in as many lines as it takes."""
    lines = textwrap.fill(words, width=int(CHARACTERS_PER_INCH * figure.get_figwidth()))
    figure.suptitle(lines, x=0.01, ha="left", fontsize=TITLE_POINTS, weight="bold", parse_math=False)


def name_lines(axes: Axes, labels: Sequence[Label]) -> None:
    """Write each name beside its line's end, apart from the others, with a stroke from one to the other.

    Limits and scales of the axes must be set before.
    """
    points_high = axes.bbox.height * 72 / axes.figure.dpi  # of the axes, nearly
    to_axes = axes.transScale.transform, axes.transLimits.transform

    def place(height: float) -> float:
        point = np.array([[axes.get_xlim()[1], height]])
        for transform in to_axes:
            point = transform(point)
        return float(np.clip(point[0, 1], 0, 1)) * points_high

    ends = sorted(((place(label.height), label) for label in labels), key=lambda found: found[0])
    heights = _spread([height for height, _ in ends], room=points_high)
    for (end, label), height in zip(ends, heights, strict=True):
        style = {"arrowstyle": "-", "color": label.colour, "linestyle": label.line_style, "linewidth": 1.4}
        axes.annotate(
            label.words, (1, end / points_high), xytext=(20, height - end), xycoords="axes fraction",
            textcoords="offset points", va="center", fontsize=10, annotation_clip=False, parse_math=False,
            arrowprops=style | {"shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip


def _spread(heights: Sequence[float], *, room: float) -> list[float]:
    """The same heights, in order, none nearer to the next than a line of words, and all within the room."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LINE_POINTS) if placed else height)
    excess = max(0.0, placed[-1] - room) if placed else 0.0
    return [height - excess for height in placed]


def trace_figure(runs: Runs, column: str) -> Figure:
    """A loss or score over the steps: of each framework the median and the band in which nine steps of ten lie."""
    figure, axes = plot()
    bands = {name: quantile_band(run.losses["step"], run.losses[column]) for name, run in runs.items()}
    for name, band in bands.items():
        plot_band(axes, band, color=COLOURS[name], linestyle=LINE_STYLES[name])
    if column in LOSS_COLUMNS:
        axes.set_ylim(0, 1.08 * max((band.high.max() for band in bands.values() if len(band.high)), default=1) or 1)
    else:
        axes.set_ylim(0, 1)
    _step_axis(axes, runs)
    ends = {name: last_epoch_means(run)[column] for name, run in runs.items()}
    phrases = [f"{number(end)} in {SHORT_NAMES[name]}" for name, end in ends.items()]
    conclude(figure, f"{CHART_TITLES[column]} ends at {' and '.join(phrases)}")
    name_lines(
        axes,
        [
            Label(SHORT_NAMES[name], float(band.median[-1]), COLOURS[name], LINE_STYLES[name])
            for name, band in bands.items()
            if len(band.median)
        ],
    )
    return figure


def _step_axis(axes: Axes, runs: Runs) -> None:
    run = next(iter(runs.values()))
    steps_per_epoch = int((run.losses["epoch"] == 1).sum()) if run.num_steps else 0
    axes.set_xlabel(f"step ({steps_per_epoch} to an epoch)" if steps_per_epoch else "step")
    axes.set_xlim(0, max(max(run.num_steps for run in runs.values()), 2))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def loss_difference_figure(torch_run: RecordedRun, jax_run: RecordedRun) -> Figure:
    """The relative difference of both losses; steps without any difference have no place on a logarithmic axis."""
    figure, axes = plot()
    axes.set(xscale="log", yscale="log", xlabel="step", ylabel="relative difference")
    lowest, labels, parted_at = PARTED_AT, [], []
    for column, colour in LOSS_COLOURS.items():
        difference = relative_difference(torch_run.losses[column], jax_run.losses[column])
        steps = np.arange(1, len(difference) + 1)
        visible = difference > 0
        lowest = min([lowest, *difference[visible]])
        edges = np.unique(np.geomspace(1, max(len(steps), 2), NUM_GROUPS_OF_DIFFERENCES).astype(int))
        shown = np.where(visible, difference, np.nan)
        band = quantile_band(steps, shown, edges=edges[edges < len(steps)])
        plot_band(axes, band, color=colour, linestyle="-" if column == "discriminator_loss" else (0, (4, 1.5)))
        if len(band.median):
            style = "-" if column == "discriminator_loss" else (0, (4, 1.5))
            labels.append(Label(column.removesuffix("_loss"), float(band.median[-1]), colour, style))
        parted = first_step_above(difference, PARTED_AT)
        if parted:
            parted_at.append(parted)
            if np.isfinite(difference[parted - 1]):
                axes.plot(parted, difference[parted - 1], "o", color=colour, markersize=6, zorder=4)
    axes.set(xlim=(1, max(torch_run.num_steps, 2)), ylim=(lowest / 2, 3))
    axes.axhline(PARTED_AT, color=LIGHT["bad"], linewidth=1, linestyle=":")
    axes.annotate("1 %", (0.005, PARTED_AT), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", color=LIGHT["bad"], fontsize=10)  # fmt: skip
    where = f"from step {min(parted_at):,} on" if parted_at else "at no step"
    conclude(figure, f"The losses part by more than 1 % {where}")
    name_lines(axes, labels)
    return figure


def class_histogram_figure(runs: Runs) -> Figure:
    """Share of each digit among the samples and the real test digits, as dots."""
    figure, axes = plot()
    histograms = {name: run.evaluation["class_histogram"]["generated"] for name, run in runs.items()}
    histograms["real"] = next(iter(runs.values())).evaluation["class_histogram"]["real"]
    shares = {name: 100 * np.array(counts) / sum(counts) for name, counts in histograms.items()}
    offsets = np.linspace(-0.22, 0.22, len(shares))
    for offset, (name, values) in zip(offsets, shares.items(), strict=True):
        label = SHORT_NAMES.get(name, "real test digits")
        style: dict[str, Any] = {"marker": MARKERS[name], "color": COLOURS[name], "linestyle": "", "markersize": 5.5}
        style |= {"markerfacecolor": "none"} if name == "real" else {}
        axes.plot(np.arange(len(values)) + offset, values, label=label, **style)
    rarest = min((float(values.min()), SHORT_NAMES[name]) for name, values in shares.items() if name != "real")
    axes.set(xlabel="digit that the classifier sees", ylabel="share (%)", xticks=range(10))
    axes.set_ylim(0, 1.1 * max(values.max() for values in shares.values()))
    conclude(
        figure,
        f"The rarest digit is {number(rarest[0], digits=2)} % of {rarest[1]}'s samples, "
        f"{number(float(shares['real'].min()), digits=2)} % of real digits",
    )
    beside_no_dot = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axes.legend(ncols=len(shares), columnspacing=1, handletextpad=0.2, **beside_no_dot)
    return figure


def scored_epochs(run: RecordedRun) -> list[EpochsRow]:
    """The epochs that have a quick score."""
    return [row for row in run.epochs if row.frechet_distance is not None]


def epoch_quality_figure(runs: Runs) -> Figure:
    """The quick Fréchet distance after each epoch, and what real images score."""
    figure, axes = plot()
    labels, ends = [], []
    for name, run in runs.items():
        rows = scored_epochs(run)
        values = np.array([row.frechet_distance for row in rows], np.float64)
        axes.plot([row.epoch for row in rows], values, marker=MARKERS[name], markersize=5, color=COLOURS[name],
                  linestyle=LINE_STYLES[name])  # fmt: skip
        labels.append(Label(SHORT_NAMES[name], float(values[-1]), COLOURS[name], LINE_STYLES[name]))
        ends.append(f"{number(float(values[-1]))} in {SHORT_NAMES[name]}")
    floors = [row.frechet_distance_floor for run in runs.values() for row in scored_epochs(run)]
    axes.set(xlabel="epoch", yscale="log")
    if floor := floors[-1]:
        axes.axhline(floor, color=COLOURS["real"], linestyle=LINE_STYLES["real"])
        labels.append(Label("real images", floor, COLOURS["real"], LINE_STYLES["real"]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    real = f"; real images have {number(floor)}" if floor else ""
    conclude(figure, f"Fréchet distance ends at {' and '.join(ends)}{real}")
    name_lines(axes, labels)
    return figure


def step_time_figure(runs: Runs) -> Figure:
    """Milliseconds of a step, one dot a chunk, and their median."""
    figure, axes = plot()
    labels, phrases = [], []
    for name, run in runs.items():
        steps = [chunk.step for chunk in run.steady_chunks]
        times = [1e3 * chunk.seconds / chunk.num_steps for chunk in run.steady_chunks]
        size = 2.2 if len(steps) > 60 else 5
        axes.plot(steps, times, MARKERS[name], color=COLOURS[name], markersize=size, alpha=0.6, markeredgewidth=0)
        median = float(np.median(times))
        axes.axhline(median, color=COLOURS[name], linestyle=LINE_STYLES[name])
        labels.append(Label(f"{SHORT_NAMES[name]}: {number(median)}", median, COLOURS[name], LINE_STYLES[name]))
        phrases.append(f"{number(median)} ms in {SHORT_NAMES[name]}")
    _step_axis(axes, runs)
    axes.set_ylim(0, None)
    axes.set_ylabel("milliseconds a step")
    conclude(figure, f"A step takes {' and '.join(phrases)}")
    name_lines(axes, labels)
    return figure
