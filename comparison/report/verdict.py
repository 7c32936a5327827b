"""The verdict in three sentences, each with a mark: what this comparison found, and how sure that is."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from common.evaluation.catalogue import METRICS
from comparison.report.parity import headline
from comparison.report.protocol import not_comparable
from comparison.report.quality import HEADLINE, headline_scores, measured
from comparison.report.training_text import ratio_claim
from comparison.text import SHORT_NAMES, number

Mark = Literal["verified", "indicative", "disturbed", "not measured"]


class Claim(NamedTuple):
    """A sentence, and what it is worth."""

    subject: str
    mark: Mark
    sentence: str


def verdict(results: Mapping[str, Any]) -> list[Claim]:
    """Speed, sameness, quality."""
    quiet = results.get("quietness") or {}  # older comparisons have none
    mark = "not measured" if results["why_no_ratio"] else quiet.get("mark", "indicative")
    speed = Claim("Speed", "disturbed" if quiet.get("mark") == "disturbed" else mark, ratio_claim(results))
    holds = results["parity"]["holds"]
    same = Claim("Sameness", "verified" if holds else "not measured", headline(results))
    return [speed, same, _quality(results)]


def _quality(results: Mapping[str, Any]) -> Claim:
    frameworks = {name: found for name, found in results["frameworks"].items() if found is not None}
    scores = headline_scores(frameworks)
    if not_comparable(frameworks) or len(scores) < 2:
        return Claim("Quality", "not measured", "Quality is not compared: see what is said of the scores below.")
    phrases = [
        f"{measured(score['value'], score.get('spread'))} in {SHORT_NAMES[name]}" for name, score in scores.items()
    ]
    floor = next(iter(scores.values())).get("floor")
    real = f"; real images have {number(floor)}" if floor is not None else ""
    title = METRICS[HEADLINE].title
    return Claim("Quality", "indicative", f"{title}: {' and '.join(phrases)}{real} (n = 1 training, lower is better).")
