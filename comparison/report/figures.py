"""The figures of the report: charts as SVG, digits as panels of pixels and as one PNG of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.data.datasets import load_dataset
from common.pictures.captions import run_words
from common.pictures.drawing import add_caption, figure_png
from common.records.recorded_run import RecordedRun, Runs
from common.stages import in_stage
from comparison.report import charts
from comparison.report.image_panels import (
    Panels,
    classes_panels,
    neighbours_panels,
    progress_panels,
    samples_panels,
)
from comparison.report.palette import STYLE
from comparison.report.svg import figure_svg


@dataclass(frozen=True)
class Drawn:
    """Every figure there is data for: its file, and of digits the panels that a page may stack."""

    files: Mapping[str, bytes] = field(default_factory=dict)  # by name, `.svg` or `.png`
    panels: Mapping[str, Panels] = field(default_factory=dict)  # by the name of the PNG
    conclusions: Mapping[str, str] = field(default_factory=dict)  # the title of each chart, by the name of its file

    def joined(self, other: "Drawn") -> "Drawn":
        """Both together."""
        return Drawn(
            {**self.files, **other.files},
            {**self.panels, **other.panels},
            {**self.conclusions, **other.conclusions},
        )


def draw_figures(runs: Runs, real_images: np.ndarray, training_images: np.ndarray | None) -> Drawn:
    """real_images is uint8 (n >= 64, S, S[, 3]); training_images are all of them, or None where nobody has them."""
    panels = _panels(runs, real_images, training_images)
    with matplotlib.rc_context(STYLE):
        figures = _charts(runs)
        model = run_words(next(iter(runs.values())).config)
        for figure in figures.values():
            add_caption(figure, model)
        conclusions = {name: conclusion(figure) for name, figure in figures.items()}
        figures |= {name: shown.figure() for name, shown in panels.items()}
        drawing = in_stage(figures.items(), "drawing the report's figures", len(figures))
        return Drawn({name: _file(name, figure) for name, figure in drawing}, panels, conclusions)


def conclusion(figure: Figure) -> str:
    """The title of a chart, in one line."""
    return " ".join(figure.get_suptitle().split())


def _file(name: str, figure: Figure) -> bytes:
    return figure_svg(figure, name) if name.endswith(".svg") else figure_png(figure)


def _charts(runs: Runs) -> dict[str, Figure]:
    trained = {name: run for name, run in runs.items() if run.num_steps}
    timed = {name: run for name, run in runs.items() if run.steady_chunks}
    classified = {name: run for name, run in runs.items() if run.evaluation.get("class_histogram")}
    judged = {name: run for name, run in runs.items() if len(charts.scored_epochs(run)) > 1}
    features = {(run.environment.get("features") or {}).get("sha256") for run in judged.values()}
    figures = {f"{column}.svg": charts.trace_figure(trained, column) for column in charts.CHART_TITLES if trained}
    if len(trained) == 2:
        figures["loss_difference.svg"] = charts.loss_difference_figure(*trained.values())
    if classified:
        figures["class_histogram.svg"] = charts.class_histogram_figure(classified)
    if len(features) == 1:  # distances among other features have another scale
        figures["epoch_quality.svg"] = charts.epoch_quality_figure(judged)
    if timed:
        figures["step_time.svg"] = charts.step_time_figure(timed)
    return figures


def _panels(runs: Runs, real_images: np.ndarray, training_images: np.ndarray | None) -> dict[str, Panels]:
    found = {}
    if sampled := {name: run for name, run in runs.items() if len(run.progress.epochs)}:
        found["samples.png"] = samples_panels(sampled, real_images)
        found["progress.png"] = progress_panels(sampled)
    if with_classes := _showing(runs, "class_examples"):
        found["classes.png"] = classes_panels(with_classes)
    with_neighbours = _showing(runs, "nearest_neighbours")
    if any(not run.evaluation["protocol"].get("features") for run in with_neighbours.values()):
        training_images = load_dataset("mnist").train_images  # of digits, whatever part was trained on
    if with_neighbours and training_images is not None:
        found["neighbours.png"] = neighbours_panels(with_neighbours, training_images)
    return found


def _showing(runs: Runs, field: str) -> dict[str, RecordedRun]:
    """Runs whose evaluation names samples in this field, and that still have them."""
    return {name: run for name, run in runs.items() if run.shown_samples and any(run.evaluation.get(field, ()))}
