"""Quality without a digit network: scores of generated images against the data that a run was trained on.

One rule for 500 images and for 50,000 (decision 0023): N is half of the training images, at most 5,000; the reference
is N random ones, the floor N others in place of generated ones. Held-out images, if any, are the floor of the screens.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from common.data.datasets import Dataset
from common.data.randomness import stream
from common.errors import UserError
from common.evaluation import kernel_distance
from common.evaluation.floors import Floor, decode, encode
from common.evaluation.frechet import Gaussian, frechet_distance
from common.evaluation.memorisation import (
    MIN_CELL_SAMPLES,
    NearestTraining,
    copying_statistic,
    duplicate_fraction,
    memorised_fraction,
    nearest_training,
)
from common.evaluation.metrics import SEED, Scores
from common.evaluation.neighbours import Neighbourhood, neighbour_metrics
from common.evaluation.pixel_components import MAX_FITTED, FeatureSpace, PixelComponents
from common.evaluation.reference import K
from common.evaluation.samples import NUM_QUICK, some_of
from common.evaluation.stored import cached
from common.evaluation.training_digits import NUM_CELLS, NUM_COMPONENTS
from common.stages import in_stage

MAX_HALF = 5_000
MIN_TRAINING_IMAGES = 40
MIN_TEST_IMAGES = 2 * MIN_CELL_SAMPLES  # for C_T: half of them take the place of generated ones
NUM_SPLITS = 5
IMAGES_PER_AXIS = 8  # of a covariance, as for the 128 features of at least 1,000 digits


@dataclass(frozen=True)
class OwnData:
    """The real images that a run's samples are compared with, as features, and the floors that belong to them."""

    space: FeatureSpace
    training: np.ndarray  # features (M, D)
    held_out: np.ndarray  # features (T, D); T may be 0
    num_images: int  # N, on either side
    data_sha256: str

    @classmethod
    def of(cls, dataset: Dataset, space: FeatureSpace | None = None, *, quick: bool) -> "OwnData":
        """Compared by the pixels, if there is no other space; UserError if there are too few images."""
        training, test = dataset.train_images, dataset.test_images
        if len(training) < MIN_TRAINING_IMAGES:
            raise UserError(
                f"{len(training)} training images are too few to score against: {MIN_TRAINING_IMAGES} are needed"
            )
        space = space or PixelComponents.fit(training)
        held_out = some_of(test, MAX_HALF)
        digest = hashlib.sha256(training.tobytes())
        digest.update(held_out.tobytes())
        return cls(
            space=space,
            training=space.extract_real(training),
            held_out=space.extract_real(held_out) if len(held_out) else np.zeros((0, 1)),
            num_images=min(len(training) // 2, NUM_QUICK if quick else MAX_HALF),
            data_sha256=digest.hexdigest(),
        )

    def halves(self, split: int) -> tuple[np.ndarray, np.ndarray]:
        """Two disjoint random sets of N training images; the first of split 0 is the reference."""
        order = stream(0, "evaluation/halves", split).permutation(len(self.training))
        return self.training[order[: self.num_images]], self.training[order[self.num_images : 2 * self.num_images]]

    @cached_property
    def reference(self) -> np.ndarray:
        """Features (N, D) that every draw is compared with."""
        return self.halves(0)[0]

    @cached_property
    def frechet_axes(self) -> PCA | None:
        """What a Gaussian is fitted along where N images are too few for all features; None of the pixels, ever."""
        num = min(self.num_images, max(NUM_COMPONENTS, self.num_images // IMAGES_PER_AXIS))
        if self.training.shape[1] <= num:
            return None
        return PCA(num, svd_solver="randomized", random_state=0).fit(some_of(self.training, MAX_FITTED))

    @cached_property
    def centres(self) -> np.ndarray:
        """Of the cells of C_T; a small set of held-out images fills one only."""
        num_cells = NUM_CELLS if len(self.held_out) >= 2 * NUM_CELLS * MIN_TEST_IMAGES else 1
        return KMeans(num_cells, random_state=0).fit(some_of(self.training, MAX_HALF)).cluster_centers_

    def own_distances(self, indices: np.ndarray) -> np.ndarray:
        """Distance (M,) of these training images to their nearest other; NaN for those that were not asked for."""
        asked = np.unique(indices)
        neighbours = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(self.training)
        distances = np.full(len(self.training), np.nan)
        distances[asked] = neighbours.kneighbors(self.training[asked])[0][:, 1]
        return distances

    def floors(self, *, quick: bool) -> dict[str, Floor]:
        """Computed once for these images and this space."""
        kind = "quick_" if quick else ""
        return cached(
            f"{kind}floors_{self.num_images}.json",
            hashlib.sha256(f"{self.data_sha256} {self.space.sha256}".encode()).hexdigest(),
            compute=lambda: encode(self._compute_floors(quick=quick)),
            decode=decode,
        )

    def distribution_scores(self, real: np.ndarray, generated: np.ndarray, *, quick: bool) -> Scores:
        """What two equally large sets of features (N, D) say of each other."""
        kernel = kernel_distance.kernel_distance(real, generated, seed=SEED)
        axes = self.frechet_axes
        gaussians = [Gaussian.of(axes.transform(points) if axes else points) for points in (real, generated)]
        values = {"frechet_distance": frechet_distance(*gaussians), "kid": kernel.value}
        if not quick:
            neighbourhoods = [Neighbourhood.of(points, k=K) for points in (real, generated)]
            values |= neighbour_metrics(*neighbourhoods)._asdict()
            values["duplicate_fraction"] = duplicate_fraction(*(each.nearest[:, 0] for each in neighbourhoods[::-1]))
        return Scores(values, {} if kernel.standard_error is None else {"kid": kernel.standard_error})

    def memorisation_scores(
        self, features: np.ndarray, nearest: NearestTraining, own_distances: np.ndarray, *, held_out: np.ndarray
    ) -> dict[str, float]:
        """Screens against copies of training images; C_T beside these of the held-out images, if they are enough."""
        scores = {"memorised_fraction": memorised_fraction(nearest, own_distances)}
        if len(held_out) >= MIN_CELL_SAMPLES:
            scores["copying_statistic"] = copying_statistic(
                features,
                nearest.distances,
                test_features=self.held_out[held_out],
                test_distances=self.held_out_nearest.distances[held_out],
                centres=self.centres,
            )
        return scores

    @cached_property
    def held_out_nearest(self) -> NearestTraining:
        """The training image nearest to each held-out one."""
        return nearest_training(self.held_out, self.training)

    def _compute_floors(self, *, quick: bool) -> dict[str, Floor]:
        splits = in_stage(range(NUM_SPLITS), "scoring halves of the training images", NUM_SPLITS)
        rows_of_splits = [self.distribution_scores(*self.halves(split), quick=quick).values for split in splits]
        screens = [] if quick or len(self.held_out) < MIN_TEST_IMAGES else self._held_out_screens()
        values = {name: [row[name] for row in rows] for rows in (rows_of_splits, screens) for name in (rows or [{}])[0]}
        return {name: Floor(float(np.mean(each)), min(each), max(each)) for name, each in values.items()}

    def _held_out_screens(self) -> list[dict[str, float]]:
        """One half of the held-out images in place of generated ones, for several random halves."""
        nearest = self.held_out_nearest
        own_distances = self.own_distances(nearest.indices)
        screens = []
        for split in range(NUM_SPLITS):
            order = stream(0, "evaluation/held_out", split).permutation(len(self.held_out))
            half, other = np.array_split(order, 2)
            of_half = NearestTraining(nearest.indices[half], nearest.distances[half])
            screens.append(self.memorisation_scores(self.held_out[half], of_half, own_distances, held_out=other))
        return screens
