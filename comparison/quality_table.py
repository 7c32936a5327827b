"""The quality table: how to read each of the evaluator's metrics, and their values beside the floor."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from comparison.tables import NOTHING, Row, number


class Metric(NamedTuple):
    """How to read one of the evaluator's metrics."""

    title: str
    better: str  # "up" or "down"
    meaning: str


METRICS = {
    "frechet_distance": Metric("Fréchet distance", "down", "distance of the two Gaussians fitted to the features"),
    "mnist_score": Metric("MNIST score", "up", "confident and evenly spread classes; 10 at most"),
    "precision": Metric("Precision", "up", "share of generated digits that look like some real one"),
    "recall": Metric("Recall", "up", "share of real digits within reach of the generator"),
    "density": Metric("Density", "up", "how many real digits are near a generated one; 1 is real-like"),
    "coverage": Metric("Coverage", "up", "share of real digits with a generated one among their neighbours"),
    "class_kl": Metric("KL of classes", "down", "divergence of the generated classes from the real ones, in nats"),
    "num_missing_classes": Metric("Missing classes", "down", "digit classes that are never generated"),
    "smallest_class": Metric("Smallest class", "up", "share of the rarest digit class"),
    "mean_confidence": Metric("Mean confidence", "", "of the classifier; noise has 1.00 too, so nothing by itself"),
}
ARROWS = {"up": "\N{NO-BREAK SPACE}↑", "down": "\N{NO-BREAK SPACE}↓"}
HEADLINE_METRICS = ("frechet_distance", "coverage", "mnist_score", "class_kl")


def quality_rows(frameworks: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    """One row a metric; the last cell is the real-vs-real floor. Empty when nothing was scored."""
    scored = [framework["quality"] for framework in frameworks.values() if framework["quality"]]
    rows = []
    for name in (n for n in scored[0] if names is None or n in names) if scored else ():
        metric = METRICS.get(name, Metric(name, "", ""))
        cells = [_measured((framework["quality"] or {}).get(name)) for framework in frameworks.values()]
        floor = number(scored[0][name].get("floor"))
        rows.append(Row(f"{metric.title}{ARROWS.get(metric.better, '')}", metric.meaning, [*cells, floor]))
    return rows


def _measured(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return NOTHING
    spread = metric.get("spread")
    return number(metric["value"]) if spread is None else f"{number(metric['value'])} ± {number(spread, digits=2)}"
