"""The quick score after an epoch: a second or two, on samples of its own that are the same for every epoch and twin."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from common.config import TrainConfig
from common.contract import Trainer
from common.data.datasets import Dataset, load_dataset, to_uint8
from common.data.randomness import epoch_quality_latents
from common.errors import UserError
from common.evaluation.feature_network import load_feature_network
from common.evaluation.floors import load_floors
from common.evaluation.metrics import make_draw, quick_scores
from common.evaluation.own_data import OwnData
from common.evaluation.own_network import OwnNetwork
from common.evaluation.reference import Reference
from common.evaluation.samples import NUM_QUICK, digit_images
from common.options import RunOptions
from common.records.series import EpochQuality
from common.stages import Stage, stage
from common.training.prepare import Plan, is_scored


def epoch_scorer(options: RunOptions, plan: Plan, *, before: Callable[[], None]) -> "EpochScorer":
    """Of a run with these options; `before` is called once, when there is something to score."""
    return EpochScorer(options.config, plan.dataset, plan.network, is_scored(plan.dataset), options.num_threads, before)


class Quick(NamedTuple):
    """How to score the images of one run, and what is computed of real ones once."""

    num_samples: int
    scores_of: Callable[[np.ndarray], Mapping[str, float]]
    floor: float


@dataclass(frozen=True)
class EpochScorer:
    """Scores what a generator makes; all that it needs of real images is made at the first call."""

    config: TrainConfig
    dataset: Dataset
    network: OwnNetwork | None
    is_digits: bool
    threads: int
    before_the_first: Callable[[], None]

    def __call__(self, trainer: Trainer) -> EpochQuality:
        """Nothing at all of samples that show nothing."""
        with stage("scoring the epoch", 2) as parts:
            quality = self._score(trainer, parts)
            parts.advance()
        return quality

    def _score(self, trainer: Trainer, parts: Stage) -> EpochQuality:
        with threadpool_limits(self.threads):
            quick = self.quick
        latents = epoch_quality_latents(self.config.seed, num=quick.num_samples, latent_dim=self.config.latent_dim)
        images = to_uint8(trainer.generate(latents))
        parts.advance()
        if (images == images[:, :1, :1]).all():
            return EpochQuality()
        try:
            with threadpool_limits(self.threads):
                return EpochQuality(**quick.scores_of(images), frechet_distance_floor=quick.floor)
        except UserError:  # a network of --features can fail on them
            return EpochQuality()

    @cached_property
    def quick(self) -> Quick:
        """Of the dataset."""
        self.before_the_first()
        return self._of_digits() if self.is_digits else self._of_own_data()

    def _of_digits(self) -> Quick:
        network, mnist = load_feature_network(threads=self.threads), load_dataset("mnist")
        reference = Reference(network, mnist, split="test", num_images=NUM_QUICK, image_size=self.config.image_size)
        return Quick(
            NUM_QUICK,
            lambda images: quick_scores(make_draw(digit_images(images), reference), reference).values,
            load_floors(reference, quick=True)["frechet_distance"].mean,
        )

    def _of_own_data(self) -> Quick:
        data = OwnData.of(self.dataset, self.network, quick=True)
        return Quick(
            data.num_images,
            lambda images: data.distribution_scores(data.reference, data.space.extract(images), quick=True).values,
            data.floors(quick=True)["frechet_distance"].mean,
        )
