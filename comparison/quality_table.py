"""The quality table: how to read each of the evaluator's metrics, and their values beside the floor."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from common.evaluation.relations import RELATIONS
from comparison.tables import NOTHING, Row, number

DISTRIBUTION = "Distribution"
CLASSES = "Classes given by the classifier"
MEMORISATION = "Memorisation: screening, not proof"
PIXELS = "Second feature space: 64 principal components of the pixels, no labels used"
SMOOTHNESS = "Smoothness"
OTHER = "Other"


class Metric(NamedTuple):
    """How to read one of the evaluator's metrics."""

    title: str
    group: str
    better: str  # "up", "down", or "" where neither is
    meaning: str


METRICS = {
    "frechet_distance": Metric("Fréchet distance", DISTRIBUTION, "down", "of the two Gaussians fitted to the features"),
    "frechet_distance_infinite": Metric(
        "Fréchet distance, infinite N",
        DISTRIBUTION,
        "down",
        "extrapolated in the generated samples; the real side's bias stays",
    ),
    "kid": Metric("KID", DISTRIBUTION, "down", "unbiased, so that it may fall below 0"),
    "mnist_score": Metric("MNIST score", DISTRIBUTION, "up", "confident and evenly spread classes; 10 at most"),
    "precision": Metric("Precision", DISTRIBUTION, "up", "share of generated digits that look like a real one"),
    "recall": Metric("Recall", DISTRIBUTION, "up", "share of real digits within reach of the generator"),
    "density": Metric("Density", DISTRIBUTION, "up", "how many real digits are near a generated one; 1 is real-like"),
    "coverage": Metric(
        "Coverage", DISTRIBUTION, "up", "share of real digits with a generated one among their neighbours"
    ),
    "class_kl": Metric(
        "KL of classes",
        CLASSES,
        "down",
        "divergence of the generated classes from the real ones, in nats",
    ),
    "class_chi_square": Metric("Chi-square of classes", CLASSES, "down", "distance of the two class histograms"),
    "smallest_class": Metric("Smallest class", CLASSES, "up", "share of the rarest digit class"),
    "num_missing_classes": Metric(
        "Missing classes", CLASSES, "down", "digit classes that the classifier never recognises"
    ),
    "mean_confidence": Metric(
        "Mean confidence", CLASSES, "", "of the classifier; noise has 1.00 too, so nothing by itself"
    ),
    "memorised_fraction": Metric(
        "Memorised",
        MEMORISATION,
        "",
        "share of samples nearer to a training digit than that digit's own neighbour; above the floor: alarm",
    ),
    "duplicate_fraction": Metric(
        "Duplicates",
        MEMORISATION,
        "",
        "share of samples with another one nearer than 99 % of real digits have; above the floor is an alarm",
    ),
    "copying_statistic": Metric(
        "Copying statistic C_T",
        MEMORISATION,
        "",
        "far below 0: copies; far above 0: underfits; Meehan et al. 2020",
    ),
    "pixel_frechet_distance": Metric("Fréchet distance of pixels", PIXELS, "down", ""),
    "pixel_precision": Metric("Precision of pixels", PIXELS, "up", ""),
    "pixel_coverage": Metric("Coverage of pixels", PIXELS, "up", ""),
    "path_length": Metric(
        "Path length", SMOOTHNESS, "", "mean squared speed of the image along great arcs between latents"
    ),
}
ARROWS = {"up": "\N{NO-BREAK SPACE}↑", "down": "\N{NO-BREAK SPACE}↓"}
TIMES_FLOOR = "\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}floor"
HEADLINE_METRICS = ("frechet_distance", "coverage", "mnist_score", "class_kl")


def quality_rows(frameworks: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    """One row a metric; the last cell is the real-vs-real floor. Empty when nothing was scored."""
    scores = [framework["quality"] or {} for framework in frameworks.values()]
    scored = dict.fromkeys(name for quality in scores for name in quality)
    return [_row(name, [quality.get(name) for quality in scores]) for name in scored if names is None or name in names]


def quality_groups(frameworks: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The rows under their headings, in the order of METRICS; those of a newer evaluator stand at the end."""
    groups = dict.fromkeys(metric.group for metric in METRICS.values())
    members = {group: [name for name, metric in METRICS.items() if metric.group == group] for group in groups}
    scored = {name for framework in frameworks.values() for name in framework["quality"] or {}}
    members[OTHER] = sorted(scored - set(METRICS))
    rows = {g: [row for name in names for row in quality_rows(frameworks, [name])] for g, names in members.items()}
    return {group: rows for group, rows in rows.items() if rows}


def measured(value: float, spread: float | None) -> str:
    """`value ± spread`, the spread to as many decimals as the value if any of its digits is among them."""
    text = number(value)
    if spread is None:
        return text
    same_decimals = f"{spread:.{len(text.partition('.')[2])}f}"
    is_visible = "e" not in text and float(same_decimals) != 0
    return f"{text} ± {same_decimals if is_visible else number(spread, digits=2)}"


def relation_to_floor(relation: str, value: float, floor: float | None) -> str:
    """The value as a multiple of the floor, or its distance from it; empty where there is nothing to say."""
    if floor is None:
        return ""
    if relation == "ratio":
        return f"{number(value / floor)} {TIMES_FLOOR}" if floor > 0 else ""
    if relation == "difference":
        if value == floor:
            return "at the floor"
        return f"{number(abs(value - floor))} {'above' if value > floor else 'below'} floor"
    return ""


def _row(name: str, values: Sequence[Mapping[str, Any] | None]) -> Row:
    metric = METRICS.get(name, Metric(name, OTHER, "", ""))
    with_floor = next(value for value in values if value is not None)
    low, high = with_floor.get("floor_low"), with_floor.get("floor_high")
    floor_range = [] if low is None or high is None else [f"{number(low)} to {number(high)}"]
    cells = [NOTHING if value is None else measured(value["value"], value.get("spread")) for value in values]
    below = [[] if value is None else _small_print(RELATIONS.get(name, ""), value) for value in values]
    label = f"{metric.title}{ARROWS.get(metric.better, '')}"
    return Row(label, metric.meaning, [*cells, number(with_floor.get("floor"))], [*below, floor_range])


def _small_print(relation: str, metric: Mapping[str, Any]) -> list[str]:
    related, error = relation_to_floor(relation, metric["value"], metric.get("floor")), metric.get("standard_error")
    return ([related] if related else []) + (
        [] if error is None else [f"standard error of a draw {number(error, digits=2)}"]
    )
