"""Every metric of the evaluator, declared once: a new one is an entry here, and its value in metrics.py."""

from typing import Literal, NamedTuple

DISTRIBUTION = "Distribution"
CLASSES = "Classes given by the classifier"
MEMORISATION = "Memorisation: screening, not proof"
PIXELS = "Second feature space: 64 principal components of the pixels, no labels used"
SMOOTHNESS = "Smoothness"
OTHER = "Other"


class Metric(NamedTuple):
    """How to read one metric, how it is held against real digits, and where it is shown."""

    title: str
    group: str
    better: Literal["up", "down", ""]  # "" where neither is
    meaning: str
    # A multiple of the floor, or a distance from one that is 0 or nearly so; "" where comparing says nothing.
    relation: Literal["ratio", "difference", ""]
    # Who stands in for generated digits: blocks of real ones; the reference, for metrics of one set alone; test digits.
    floor: Literal["blocks", "itself", "test digits", ""] = "blocks"
    is_quick: bool = False  # `--quick` has it, too
    is_headline: bool = False  # in the summary of a report, and in the README
    is_calibrated: bool = False  # shown beside what faint faults and bad samples score


# fmt: off
METRICS = {
    "frechet_distance": Metric(
        "Fréchet distance", DISTRIBUTION, "down", "of the two Gaussians fitted to the features", "ratio",
        is_quick=True, is_headline=True, is_calibrated=True),
    "frechet_distance_infinite": Metric(
        "Fréchet distance, infinite N", DISTRIBUTION, "down",
        "extrapolated in the generated samples; the real side's bias stays", "difference"),
    "kid": Metric(
        "KID", DISTRIBUTION, "down", "unbiased, so that it may fall below 0", "difference",
        is_quick=True, is_calibrated=True),
    "mnist_score": Metric(
        "MNIST score", DISTRIBUTION, "up", "confident and evenly spread classes; 10 at most", "ratio", "itself",
        is_quick=True, is_headline=True, is_calibrated=True),
    "precision": Metric(
        "Precision", DISTRIBUTION, "up", "share of generated images that look like a real one", "ratio",
        is_calibrated=True),
    "recall": Metric(
        "Recall", DISTRIBUTION, "up", "share of real images within reach of the generator", "ratio",
        is_calibrated=True),
    "density": Metric(
        "Density", DISTRIBUTION, "up", "how many real images are near a generated one; 1 is real-like", "ratio"),
    "coverage": Metric(
        "Coverage", DISTRIBUTION, "up", "share of real images with a generated one among their neighbours", "ratio",
        is_headline=True, is_calibrated=True),
    "class_kl": Metric(
        "KL of classes", CLASSES, "down", "divergence of the generated classes from the real ones, in nats",
        "difference", is_headline=True, is_calibrated=True),
    "class_chi_square": Metric(
        "Chi-square of classes", CLASSES, "down", "distance of the two class histograms", "difference"),
    "smallest_class": Metric(
        "Smallest class", CLASSES, "up", "share of the rarest digit class", "difference", "itself"),
    "num_missing_classes": Metric(
        "Missing classes", CLASSES, "down", "digits with less than a tenth of their real share", "difference",
        "itself"),
    "mean_confidence": Metric(
        "Mean confidence", CLASSES, "", "of the classifier; noise has 1.00 too, so nothing by itself", "", "itself"),
    "memorised_fraction": Metric(
        "Memorised", MEMORISATION, "",
        "share of samples nearer to a training image than that image's own neighbour; above the floor: alarm",
        "difference", "test digits", is_calibrated=True),
    "duplicate_fraction": Metric(
        "Duplicates", MEMORISATION, "",
        "share of samples with another one nearer than 99 % of real images have; above the floor is an alarm",
        "difference"),
    "copying_statistic": Metric(
        "Copying statistic C_T", MEMORISATION, "", "far below 0: copies; far above 0: underfits; Meehan et al. 2020",
        "difference", "test digits"),
    "pixel_frechet_distance": Metric("Fréchet distance of pixels", PIXELS, "down", "", "ratio"),
    "pixel_precision": Metric(
        "Precision of pixels", PIXELS, "", "blurred and turned digits have more than real ones: nothing by itself", ""),
    "pixel_coverage": Metric("Coverage of pixels", PIXELS, "up", "", "ratio"),
    "path_length": Metric(
        "Path length", SMOOTHNESS, "", "mean squared speed of the image along great arcs between latents", "", ""),
}
# fmt: on
HEADLINE_METRICS = [name for name, metric in METRICS.items() if metric.is_headline]
CALIBRATED_METRICS = [name for name, metric in METRICS.items() if metric.is_calibrated]


def metrics_with_floor(*, quick: bool) -> list[str]:
    """What the evaluator computes of samples alone; a run adds the path length, which needs the generator."""
    return [name for name, metric in METRICS.items() if metric.floor and (metric.is_quick or not quick)]
