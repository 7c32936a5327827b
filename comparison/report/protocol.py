"""How samples were scored, in sentences, and why scores must not be held against others."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.config import differing_fields
from common.evaluation.evaluate_own import how_compared
from common.records.recorded_run import FRAMEWORK_NAMES


def protocol(frameworks: Mapping[str, Any]) -> list[str]:
    """How quality was measured, one sentence a subject; none if it was not."""
    found = protocols(frameworks)
    if not found or different_features(frameworks):
        return []
    first = found[0]
    sentences = [
        *(f"{words}." for words in (how_compared(first) if first.get("features") else ())),
        _sets(first),
        _features(first),
        _generator(first),
        _draws(first.get("num_draws")),
    ]
    sentences += [f"Floor: {first['floor']}."] if "floor" in first else []
    return list(filter(None, sentences))


def different_features(frameworks: Mapping[str, Any]) -> str:
    """Why the scores of two runs cannot stand in one table; nothing where they can."""
    found = {name: framework["quality_protocol"] for name, framework in frameworks.items()}
    spaces = {
        name: each.get("features") or f"the digit network {each['network_sha256'][:12]}..."
        for name, each in found.items()
        if each
    }
    if len({found[name]["network_sha256"] for name in spaces}) < 2:
        return ""
    by = ", ".join(f"{FRAMEWORK_NAMES[name]} by {words}" for name, words in spaces.items())
    return f"Scores not compared, as the two runs were scored by different features: {by}. See each metrics.json."


def not_comparable(frameworks: Mapping[str, Any]) -> list[str]:
    """Why scores must not be held against those of other reports, or each other, and every alarm: a sentence each."""
    found = protocols(frameworks)
    sentences = [different_features(frameworks)]
    refused = [protocol for protocol in found if not protocol.get("comparable", True)]
    if any(protocol.get("features") for protocol in refused):
        sentences.append("Hold these scores only against runs on the same images, scored by the same features.")
    elif any(protocol.get("warnings") for protocol in refused):
        sentences.append("Scores not comparable: an alarm says that these are not digits like MNIST's.")
    elif refused:
        sentences.append("Scores not comparable: these are not the standard sets. Compare only within this page.")
    sentences += [f"Alarm: {sentence}." for sentence in _alarms(found)]
    fields = differing_fields(*found) if len(found) == 2 and not sentences[0] else []
    if fields := [field for field in fields if field not in ("warnings", "comparable")]:
        names = ", ".join(field.replace("_", " ") for field in fields)
        sentences.append(f"The two runs were not scored by the same protocol; different: {names}.")
    return [sentence for sentence in sentences if sentence]


def protocols(frameworks: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of the runs that were scored."""
    return [framework["quality_protocol"] for framework in frameworks.values() if framework["quality_protocol"]]


def _alarms(protocols: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sentence of each alarm once, with the first run's numbers where both runs set it off."""
    found: dict[str, str] = {}
    for alarm in (alarm for protocol in protocols for alarm in protocol.get("warnings", ())):
        # Those of older runs have no name of their own.
        found.setdefault(alarm["sentence"] if alarm["name"] == "warning" else alarm["name"], alarm["sentence"])
    return list(found.values())


def _sets(first: Mapping[str, Any]) -> str:
    size = f" of {first['image_size']} px" if "image_size" in first else ""
    reference = first.get("reference", "MNIST test digits")
    kind = "images" if first.get("features") else "digits"
    return f"{first['num_generated']:,} generated {kind}{size} against {first['num_real']:,} real ones ({reference})."


def _features(first: Mapping[str, Any]) -> str:
    num_features = f"{first['num_features']} features" if "num_features" in first else "features"
    neighbours = f" Neighbours: k = {first['k']}." if "k" in first else ""
    kid = first.get("kid")
    subsets = f" KID: {kid['num_subsets']:,} subsets of {kid['subset_size']:,}, seed {kid['seed']}." if kid else ""
    if first.get("features"):
        return f"Compared by {first['features']}.{neighbours}{subsets}"
    return (
        f"Compared in the {num_features} of the classifier that ships with the project "
        f"(SHA-256 {first['network_sha256'][:12]}...).{neighbours}{subsets}"
    )


def _generator(first: Mapping[str, Any]) -> str:
    checkpoint = first.get("checkpoint")
    never = " one, never the best by a metric that is reported" if checkpoint == "last" else ""
    known = [
        f"BatchNorm in {first['batch_norm']} mode" if first.get("batch_norm") else "",
        f"weights: {first['weights']}" if first.get("weights") else "",
        f"checkpoint: the {checkpoint}{never}" if checkpoint else "",
    ]
    return f"Generator: {'; '.join(filter(None, known))}." if any(known) else ""


def _draws(num_draws: int | None) -> str:
    if num_draws is None:
        return ""
    if num_draws == 1:
        return "One draw of the generator's latents, so there is no spread."
    return (
        f"Each value is the mean over {num_draws} draws of the generator's latents and ± their standard deviation, "
        "which says nothing of other training seeds."
    )
