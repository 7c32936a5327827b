"""The quality table: how to read each of the evaluator's metrics, and their values beside the floor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.evaluation.calibration import in_order, stored_calibration
from common.evaluation.catalogue import CALIBRATED_METRICS, HEADLINE_METRICS, METRICS, OTHER, Metric
from common.evaluation.feature_network import committed_sha256
from common.records.recorded_run import FRAMEWORK_NAMES
from comparison.report.captions import CAPTIONS
from comparison.report.protocol import different_features, not_comparable, protocol, protocols
from comparison.text import NOTHING, Row, number

ARROWS = {"up": "\N{NO-BREAK SPACE}↑", "down": "\N{NO-BREAK SPACE}↓"}
HEADLINE = "frechet_distance"
REAL_COLUMN = "real images"  # the heading of what real ones score in place of generated ones
Sets = Mapping[str, Mapping[str, float | None]]  # name of a set of images to metric to value
FEATURES = {
    "discriminator": ("Discriminator", "as trained"),
    "untrained discriminator": ("Untrained discriminator", "with its initial weights"),
    "pixels": ("Raw pixels", "no network"),
}


def quality_rows(frameworks: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    """One row a metric; the last cell is the real-vs-real floor. Empty when nothing was scored that can be compared."""
    if different_features(frameworks):
        return []
    scores = [framework["quality"] or {} for framework in frameworks.values()]
    scored = dict.fromkeys(name for quality in scores for name in quality)
    return [_row(name, [quality.get(name) for quality in scores]) for name in scored if names is None or name in names]


def quality_groups(frameworks: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The rows under their headings, in the order of METRICS; those of a newer evaluator stand at the end."""
    scored = {name for framework in frameworks.values() for name in framework["quality"] or {}}
    groups: dict[str, list[Row]] = {}
    for name in (*METRICS, *sorted(scored - METRICS.keys())):
        for row in quality_rows(frameworks, [name]):
            groups.setdefault(_metric(name).group, []).append(row)
    return groups


def headline_scores(frameworks: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The Fréchet distance of each framework that was scored, as metrics.json has it."""
    found = {name: (framework["quality"] or {}).get(HEADLINE) for name, framework in frameworks.items()}
    return {name: score for name, score in found.items() if score}


def measured(value: float, spread: float | None) -> str:
    """`value ± spread`, the spread to as many decimals as the value if any of its digits is among them."""
    text = number(value)
    if spread is None:
        return text
    same_decimals = f"{spread:.{len(text.partition('.')[2])}f}"
    return f"{text} ± {same_decimals if 'e' not in text and float(same_decimals) else number(spread, digits=2)}"


def relation_to_floor(metric: Metric, value: float, floor: float | None) -> str:
    """The value as a multiple or a share of what real images score, or its distance; empty where that says nothing."""
    if floor is None:
        return ""
    if metric.relation == "ratio" and floor > 0:
        if metric.better == "up":
            return f"{100 * value / floor:.0f} % of what real images score"
        return f"{number(value / floor)} times what real images score"
    if metric.relation == "difference":
        if value == floor:
            return "as real images"
        return f"{number(abs(value - floor))} {'above' if value > floor else 'below'} real images"
    return ""


def _metric(name: str) -> Metric:
    """One of a newer evaluator is not in the catalogue."""
    return METRICS.get(name, Metric(name, OTHER, "", "", ""))


def _label(metric: Metric) -> str:
    return f"{metric.title}{ARROWS.get(metric.better, '')}"


def _row(name: str, values: Sequence[Mapping[str, Any] | None]) -> Row:
    metric = _metric(name)
    with_floor = next(value for value in values if value is not None)
    low, high = with_floor.get("floor_low"), with_floor.get("floor_high")
    floor_range = [] if low is None or high is None else [f"{number(low)} to {number(high)}"]
    cells = [NOTHING if value is None else measured(value["value"], value.get("spread")) for value in values]
    below = [list(_small_print(metric, value)) for value in values]
    return Row(_label(metric), metric.meaning, [*cells, number(with_floor.get("floor"))], [*below, floor_range])


def _small_print(metric: Metric, score: Mapping[str, Any] | None) -> Iterator[str]:
    if score is not None:
        if related := relation_to_floor(metric, score["value"], score.get("floor")):
            yield related
        if (error := score.get("standard_error")) is not None:
            yield f"standard error of a draw {number(error, digits=2)}"


def quality_context(frameworks: Mapping[str, Any]) -> dict[str, Any]:
    """What both templates need for the scores; the tables are empty when nothing was scored."""
    groups = quality_groups(frameworks)
    stored, network_sha256 = stored_calibration(), committed_sha256()
    metrics, calibration = calibration_table(frameworks, stored, network_sha256)
    sets = {**scored_sets(frameworks), **(stored if is_calibrated(frameworks, stored, network_sha256) else {})}
    return {
        "headline_quality_rows": quality_rows(frameworks, HEADLINE_METRICS),
        "quality_groups": groups,
        "num_metrics": sum(map(len, groups.values())),
        "protocol": protocol(frameworks),
        "not_comparable": not_comparable(frameworks),
        "reading": reading(
            [row for rows in groups.values() for row in rows],
            are_digits=not any(protocol.get("features") for protocol in protocols(frameworks)),
        ),
        "captions": CAPTIONS,
        "scale_sets": sets,
        "calibration_columns": metrics,
        "calibration_rows": calibration,
        "discriminator_groups": discriminator_groups(frameworks),
        "has_classes": any(framework["class_histogram"] for framework in frameworks.values()),
    }


def calibration_table(
    frameworks: Mapping[str, Any], stored: Mapping[str, Mapping[str, float]], network_sha256: str
) -> tuple[list[str], list[Row]]:
    """Headings and rows, the best first: real digits, the runs, the stored sets; none unless all are comparable."""
    if not is_calibrated(frameworks, stored, network_sha256):
        return [], []
    names = [name for name in CALIBRATED_METRICS if any(name in row for row in stored.values())]
    in_place = in_order({**scored_sets(frameworks), **stored})
    rows = [Row(label, "", [number(row.get(n)) for n in names]) for label, row in in_place.items()]
    return [_label(METRICS[name]) for name in names], rows


def is_calibrated(frameworks: Mapping[str, Any], stored: Sets, network_sha256: str) -> bool:
    """Whether the runs were scored as the stored sets were, so that they may stand beside them."""
    found = [framework["quality_protocol"] for framework in frameworks.values() if framework["quality"]]
    is_standard = all(p.get("comparable", True) and p["network_sha256"] == network_sha256 for p in found)
    return bool(stored and found and is_standard)


def scored_sets(frameworks: Mapping[str, Any]) -> Sets:
    """Every metric of the real images, scored in place of generated ones, and of each run; empty without scores."""
    scored = {name: framework["quality"] for name, framework in frameworks.items() if framework["quality"]}
    if not scored or different_features(frameworks):
        return {}
    first = next(iter(scored.values()))
    is_digits = not any(found.get("features") for found in protocols(frameworks))
    sets = {
        f"real {'digits' if is_digits else 'images'}": {name: metric.get("floor") for name, metric in first.items()}
    }
    for framework, scores in scored.items():
        sets[FRAMEWORK_NAMES[framework]] = {name: metric["value"] for name, metric in scores.items()}
    return sets


def discriminator_groups(frameworks: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Accuracies of a linear classifier, under the number of labels it was given; empty if none was trained."""
    tests = [framework["discriminator_features"] for framework in frameworks.values()]
    labels = next((test["labels"] for test in tests if test), ())
    return {
        f"{num_labels:,} labels": [
            Row(title, note, [_accuracy(test, features, index) for test in tests])
            for features, (title, note) in FEATURES.items()
        ]
        for index, num_labels in enumerate(labels)
    }


def _accuracy(test: Mapping[str, Any] | None, features: str, index: int) -> str:
    return f"{100 * test['accuracy'][features][index]:.1f} %" if test else NOTHING


def reading(rows: Sequence[Row], *, are_digits: bool = True) -> str:
    """What the signs in the table mean, as far as it has them."""
    sentences = ["↑ more is better, ↓ less is better."]
    if any("±" in cell for row in rows for cell in row.cells):
        sentences.append("± is the standard deviation over the draws.")
    sentences.append(
        "The last column is the floor: real digits scored as if they were generated. These are training digits, "
        "which the classifier knows. So a perfect generator may come out a little better."
        if are_digits
        else "The last column is the floor: real images scored as if they were generated."
    )
    if any(row.small_print and row.small_print[-1] for row in rows):
        sentences.append("In small print: its range, and how each value relates to its mean.")
    return " ".join(sentences)
