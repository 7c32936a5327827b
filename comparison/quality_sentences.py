"""What the report says in words about the scores: the protocol, and how to read the table."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.summary import differing_fields
from comparison.tables import Row

CAPTIONS = {
    "classes": (
        "Of the first draw, the first ten samples that the classifier takes for each digit, not chosen by looks. "
        "A gray cell: there were no more."
    ),
    "neighbours": (
        "Above, the ten samples of the first draw that are nearest to a training digit; below, that digit; under each "
        "pair, their distance over the training digit's distance to its own nearest neighbour. A third of real test "
        "digits are below 1, too. This is screening, not proof: a copy that the features do not see would be missed."
    ),
    "discriminator": (
        "After the DCGAN paper's own test (Radford et al. 2016, section 5): the discriminator's convolutional "
        "features, max-pooled, under a linear SVM, which is given few or many labels and reads the test digits. "
        "Features that are worth something beat an untrained discriminator and raw pixels."
    ),
}


def protocol(frameworks: Mapping[str, Any]) -> list[str]:
    """How quality was measured, one sentence a subject; none if it was not."""
    protocols = _protocols(frameworks)
    if not protocols:
        return []
    first = protocols[0]
    sentences = [_sets(first), _features(first), _generator(first), _draws(first.get("num_draws"))]
    sentences += [f"Floor: {first['floor']}."] if "floor" in first else []
    warned = dict.fromkeys(warning for each in protocols for warning in each.get("warnings", ()))
    return [*filter(None, sentences), *(f"Warning: {warning}." for warning in warned)]


def not_comparable(frameworks: Mapping[str, Any]) -> str:
    """Why the scores must not be held against those of other reports, or of each other; else nothing."""
    protocols = _protocols(frameworks)
    sentences = []
    if not all(protocol.get("comparable", True) for protocol in protocols):
        sentences.append("Scores not comparable: these are not the standard sets. Compare only within this page.")
    fields = differing_fields(*protocols) if len(protocols) == 2 else []
    if fields := [field for field in fields if field != "warnings"]:
        names = ", ".join(field.replace("_", " ") for field in fields)
        sentences.append(f"The two runs were not scored by the same protocol; different: {names}.")
    return " ".join(sentences)


def reading(rows: Sequence[Row]) -> str:
    """What the signs in the table mean, as far as it has them."""
    sentences = ["↑ more is better, ↓ less is better."]
    if any("±" in cell for row in rows for cell in row.cells):
        sentences.append("± is the standard deviation over the draws.")
    sentences.append(
        "The last column is the floor: real digits scored as if they were generated. These are training digits, "
        "another population than the test digits and known to the classifier: a perfect generator may come out a "
        "little better."
    )
    if any(row.small_print and row.small_print[-1] for row in rows):
        sentences.append("In small print: its range, and how each value relates to its mean.")
    return " ".join(sentences)


def _protocols(frameworks: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [framework["quality_protocol"] for framework in frameworks.values() if framework["quality_protocol"]]


def _sets(first: Mapping[str, Any]) -> str:
    size = f" of {first['image_size']} px" if "image_size" in first else ""
    reference = first.get("reference", "MNIST test digits")
    return f"{first['num_generated']:,} generated digits{size} against {first['num_real']:,} real ones ({reference})."


def _features(first: Mapping[str, Any]) -> str:
    num_features = f"{first['num_features']} features" if "num_features" in first else "features"
    neighbours = f" Neighbours: k = {first['k']}." if "k" in first else ""
    kid = first.get("kid")
    subsets = f" KID: {kid['num_subsets']:,} subsets of {kid['subset_size']:,}, seed {kid['seed']}." if kid else ""
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
