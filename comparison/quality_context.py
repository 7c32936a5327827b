"""What the quality chapter of the report shows beside the metrics: calibration, discriminator features, words."""

from collections.abc import Mapping
from typing import Any

from common.evaluation.calibration import CALIBRATED_METRICS, stored_calibration
from common.evaluation.feature_network import committed_sha256
from comparison import quality_sentences
from comparison.quality_table import ARROWS, HEADLINE_METRICS, METRICS, quality_groups, quality_rows
from comparison.recorded_run import FRAMEWORK_NAMES
from comparison.tables import NOTHING, Row, number

FEATURES = {
    "discriminator": ("Discriminator", "as trained"),
    "untrained discriminator": ("Untrained discriminator", "with its initial weights"),
    "pixels": ("Raw pixels", "no network"),
}


def quality_context(frameworks: Mapping[str, Any]) -> dict[str, Any]:
    """What both templates need for the scores; the tables are empty when nothing was scored."""
    groups = quality_groups(frameworks)
    metrics, calibration = calibration_table(frameworks, stored_calibration(), committed_sha256())
    return {
        "headline_quality_rows": quality_rows(frameworks, HEADLINE_METRICS),
        "quality_groups": groups,
        "protocol": quality_sentences.protocol(frameworks),
        "not_comparable": quality_sentences.not_comparable(frameworks),
        "reading": quality_sentences.reading([row for rows in groups.values() for row in rows]),
        "captions": quality_sentences.CAPTIONS,
        "calibration_columns": metrics,
        "calibration_rows": calibration,
        "discriminator_groups": discriminator_groups(frameworks),
    }


def calibration_table(
    frameworks: Mapping[str, Any], stored: Mapping[str, Mapping[str, float]], network_sha256: str
) -> tuple[list[str], list[Row]]:
    """Headings and rows: real digits, the runs, and the stored sets; no rows unless all of it is comparable."""
    scored = {name: framework for name, framework in frameworks.items() if framework["quality"]}
    protocols = [framework["quality_protocol"] for framework in scored.values()]
    is_standard = all(p.get("comparable", True) and p["network_sha256"] == network_sha256 for p in protocols)
    if not (stored and scored and is_standard):
        return [], []
    names = [name for name in CALIBRATED_METRICS if any(name in row for row in stored.values())]
    first = next(iter(scored.values()))["quality"]
    values = {"real digits (the floor)": {name: first.get(name, {}).get("floor") for name in names}}
    for framework, scores in scored.items():
        values[FRAMEWORK_NAMES[framework]] = {n: scores["quality"].get(n, {}).get("value") for n in names}
    headings = [f"{METRICS[name].title}{ARROWS.get(METRICS[name].better, '')}" for name in names]
    rows = {**values, **stored}
    return headings, [Row(label, "", [number(row.get(name)) for name in names]) for label, row in rows.items()]


def discriminator_groups(frameworks: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Accuracies of a linear classifier, under the number of labels it was given; empty if none was trained."""
    tests = [framework["discriminator_features"] for framework in frameworks.values()]
    measured = [test for test in tests if test]
    groups = {}
    for index, num_labels in enumerate(measured[0]["labels"] if measured else ()):
        groups[f"{num_labels:,} labels"] = [
            Row(title, note, [_accuracy(test, features, index) for test in tests])
            for features, (title, note) in FEATURES.items()
        ]
    return groups


def _accuracy(test: Mapping[str, Any] | None, features: str, index: int) -> str:
    return f"{100 * test['accuracy'][features][index]:.1f} %" if test else NOTHING
