"""How a metric is held against its floor: as a multiple of it, or as a distance where floors are 0 or nearly so."""

from typing import NamedTuple

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
RATIO, DIFFERENCE = "ratio", "difference"
# A metric that is not in here has no floor, or one that says nothing.
RELATIONS = {
    "frechet_distance": RATIO,
    "frechet_distance_infinite": DIFFERENCE,
    "kid": DIFFERENCE,
    "mnist_score": RATIO,
    "precision": RATIO,
    "recall": RATIO,
    "density": RATIO,
    "coverage": RATIO,
    "class_kl": DIFFERENCE,
    "class_chi_square": DIFFERENCE,
    "smallest_class": DIFFERENCE,
    "num_missing_classes": DIFFERENCE,
    "memorised_fraction": DIFFERENCE,
    "duplicate_fraction": DIFFERENCE,
    "copying_statistic": DIFFERENCE,
    "pixel_frechet_distance": RATIO,
    "pixel_precision": RATIO,
    "pixel_coverage": RATIO,
}
