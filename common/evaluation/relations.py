"""How a metric is held against its floor: as a multiple of it, or as a distance where floors are 0 or nearly so."""

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
