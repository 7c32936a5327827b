"""The figures of the report, each as PNG bytes; a framework has one colour in all of them."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.data.datasets import load_dataset
from common.pictures.captions import run_words
from common.pictures.drawing import DPI, add_caption, figure_png
from common.pictures.loss_curves import COLOURS as LOSS_COLOURS
from common.pictures.loss_curves import STYLE as LOSS_STYLE
from common.pictures.loss_curves import plot_smoothed
from common.records.recorded_run import FRAMEWORK_NAMES, RecordedRun, Runs
from common.records.series import EpochsRow
from common.stages import in_stage
from comparison.report.image_panels import classes_figure, neighbours_figure, progress_figure, samples_figure
from comparison.report.summary import LOSS_COLUMNS, PARTED_AT, first_step_above, relative_difference

COLOURS = {"torch": "#d1491a", "jax": "#1f5fbf", "real": "#8a8f98"}
LINE_STYLES = {"torch": "-", "jax": (0, (4, 1.5))}  # where the curves coincide, both colours stay visible
TRACE_TITLES = {
    "discriminator_loss": "Discriminator loss",
    "generator_loss": "Generator loss",
    "real_score": "D(x): mean score of real images",
    "fake_score": "D(G(z)): mean score of generated images",
}
STYLE: dict[Any, Any] = LOSS_STYLE | {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.edgecolor": "#9aa0a8",
    "grid.linewidth": 0.7,
    "xtick.color": "#4a505a",
    "ytick.color": "#4a505a",
    "legend.fontsize": 10.5,
    "figure.dpi": DPI,
}


def draw_figures(runs: Runs, real_images: np.ndarray, training_images: np.ndarray | None) -> dict[str, bytes]:
    """File name to PNG for every figure there is data for; real_images is uint8 (n >= 64, S, S[, 3])."""
    with matplotlib.rc_context(STYLE):
        trained = {name: run for name, run in runs.items() if run.num_steps}
        sampled = {name: run for name, run in runs.items() if len(run.progress.epochs)}
        timed = {name: run for name, run in runs.items() if run.steady_chunks}
        scored = {name: run for name, run in runs.items() if run.evaluation}
        figures: dict[str, Figure] = {
            f"{column}.png": _trace_figure(trained, column) for column in TRACE_TITLES if trained
        }
        if len(trained) == 2:
            figures["loss_difference.png"] = _loss_difference_figure(*trained.values())
        if sampled:
            figures["samples.png"] = samples_figure(sampled, real_images)
            figures["progress.png"] = progress_figure(sampled)
        if scored := {name: run for name, run in scored.items() if run.evaluation.get("class_histogram")}:
            figures["class_histogram.png"] = _class_histogram_figure(scored)
        if with_classes := _showing(runs, "class_examples"):
            figures["classes.png"] = classes_figure(with_classes)
        with_neighbours = _showing(runs, "nearest_neighbours")
        if any(not run.evaluation["protocol"].get("features") for run in with_neighbours.values()):
            training_images = load_dataset("mnist").train_images  # of digits, whatever part was trained on
        if with_neighbours and training_images is not None:
            figures["neighbours.png"] = neighbours_figure(with_neighbours, training_images)
        judged = {name: run for name, run in runs.items() if len(_scored_epochs(run)) > 1}
        features = {(run.environment.get("features") or {}).get("sha256") for run in judged.values()}
        if len(features) == 1:  # distances among other features have another scale
            figures["epoch_quality.png"] = _epoch_quality_figure(judged)
        if timed:
            figures["step_time.png"] = _step_time_figure(timed)
        model = run_words(next(iter(runs.values())).config)
        for figure in (figure for figure in figures.values() if figure.axes):  # those of images say it themselves
            add_caption(figure, model)
        drawing = in_stage(figures.items(), "drawing the report's figures", len(figures))
        return {name: figure_png(figure) for name, figure in drawing}


def _showing(runs: Runs, field: str) -> dict[str, RecordedRun]:
    """Runs whose evaluation names samples in this field, and that still have them."""
    return {name: run for name, run in runs.items() if run.shown_samples and any(run.evaluation.get(field, ()))}


def _plot(title: str, *, width: float = 5.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, pad=26)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=3, borderaxespad=0, columnspacing=1.2)


def _trace_figure(runs: Runs, column: str) -> Figure:
    figure, axes = _plot(TRACE_TITLES[column])
    for framework, run in runs.items():
        style = {"color": COLOURS[framework], "linestyle": LINE_STYLES[framework], "label": run.name}
        plot_smoothed(axes, run.losses["step"], run.losses[column], **style)
    if column in LOSS_COLUMNS:
        values = np.concatenate([run.losses[column] for run in runs.values()])
        low, high = np.nanpercentile(values, [0.5, 99.5])
        margin = 0.08 * (high - low) or 0.1
        axes.set_ylim(max(0, low - margin), high + margin)
    else:
        axes.set_ylim(0, 1)
    _step_axis(axes, runs)
    _legend(axes)
    return figure


def _step_axis(axes: Axes, runs: Runs) -> None:
    run = next(iter(runs.values()))
    steps_per_epoch = int((run.losses["epoch"] == 1).sum()) if run.num_steps else 0
    axes.set_xlabel(f"step ({steps_per_epoch} to an epoch)" if steps_per_epoch else "step")
    axes.set_xlim(0, max(max(run.num_steps for run in runs.values()), 2))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _loss_difference_figure(torch_run: RecordedRun, jax_run: RecordedRun) -> Figure:
    figure, axes = _plot("Relative difference of the losses", width=6.4)
    axes.set(xscale="log", yscale="log", xlabel="step", ylabel="relative difference")
    lowest = PARTED_AT
    for column, colour in LOSS_COLOURS.items():
        difference = relative_difference(torch_run.losses[column], jax_run.losses[column])
        steps = np.arange(1, len(difference) + 1)
        visible = difference > 0  # a log axis has no zero
        lowest = min([lowest, *difference[visible]])
        axes.plot(steps[visible], difference[visible], color=colour, linewidth=0.5, alpha=0.2)
        groups = np.split(np.flatnonzero(visible), np.unique(np.geomspace(1, len(steps), 80).astype(int)))
        medians = [(np.median(steps[group]), np.median(difference[group])) for group in groups if len(group)]
        axes.plot(*np.reshape(medians, (-1, 2)).T, color=colour, linewidth=1.6, label=TRACE_TITLES[column])
        parted = first_step_above(difference, PARTED_AT)
        if parted and np.isfinite(difference[parted - 1]):
            axes.plot(parted, difference[parted - 1], "o", color=colour, markersize=6, zorder=4)
    axes.set(xlim=(1, max(torch_run.num_steps, 2)), ylim=(lowest / 2, 3))
    axes.axhline(PARTED_AT, color="#9a1b1b", linewidth=1, linestyle=":")
    axes.annotate("1 %", (0.005, PARTED_AT), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", color="#9a1b1b", fontsize=10)  # fmt: skip
    _legend(axes)
    return figure


def _class_histogram_figure(runs: Runs) -> Figure:
    figure, axes = _plot("Share of each digit class", width=6.4)
    histograms = {name: run.evaluation["class_histogram"]["generated"] for name, run in runs.items()}
    histograms["real"] = next(iter(runs.values())).evaluation["class_histogram"]["real"]
    width = 0.8 / len(histograms)
    for index, (name, counts) in enumerate(histograms.items()):
        shares = 100 * np.array(counts) / sum(counts)
        positions = np.arange(len(shares)) + (index - (len(histograms) - 1) / 2) * width
        label = FRAMEWORK_NAMES.get(name, "real test digits")
        axes.bar(positions, shares, width=0.92 * width, color=COLOURS[name], label=label)
    axes.set(xlabel="class given by the classifier", ylabel="share (%)", xticks=range(10))
    axes.grid(axis="x", visible=False)
    _legend(axes)
    return figure


def _scored_epochs(run: RecordedRun) -> list[EpochsRow]:
    return [row for row in run.epochs if row.frechet_distance is not None]


def _epoch_quality_figure(runs: Runs) -> Figure:
    figure, axes = _plot("Fréchet distance after each epoch", width=6.4)
    floors = [row.frechet_distance_floor for run in runs.values() for row in _scored_epochs(run)]
    for framework, run in runs.items():
        rows = _scored_epochs(run)
        style = {"color": COLOURS[framework], "linestyle": LINE_STYLES[framework], "label": run.name}
        values = np.array([row.frechet_distance for row in rows], np.float64)
        axes.plot([row.epoch for row in rows], values, marker="o", **style)
    if floors[-1]:
        axes.axhline(floors[-1], color=COLOURS["real"], label="real images (the floor)")
    axes.set(xlabel="epoch", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(axes)
    return figure


def _step_time_figure(runs: Runs) -> Figure:
    figure, axes = _plot("Time of a step, averaged over each chunk", width=6.4)
    for framework, run in runs.items():
        steps = [chunk.step for chunk in run.steady_chunks]
        times = [1e3 * chunk.seconds / chunk.num_steps for chunk in run.steady_chunks]
        size = 2.6 if len(steps) > 60 else 6
        axes.plot(steps, times, "o", color=COLOURS[framework], markersize=size, alpha=0.7, markeredgewidth=0)
        median = float(np.median(times))
        label = f"{run.name}: median {median:.3g} ms"
        axes.axhline(median, color=COLOURS[framework], linestyle=LINE_STYLES[framework], label=label)
    _step_axis(axes, runs)
    axes.set_ylim(0, None)
    axes.set_ylabel("milliseconds")
    _legend(axes)
    return figure
