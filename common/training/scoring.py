"""What a trained model is asked for by the evaluator: several draws of samples, paths of latents, and features."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from common.config import TrainConfig
from common.contract import InspectableTrainer, Trainer
from common.data.datasets import Dataset
from common.data.randomness import evaluation_latents
from common.evaluation import Evaluation, evaluate_samples
from common.evaluation.discriminator_features import NUM_LABELS, linear_accuracies
from common.evaluation.evaluate import measured
from common.evaluation.evaluate_own import evaluate_own
from common.evaluation.own_network import OwnNetwork
from common.evaluation.samples import NUM_STANDARD
from common.evaluation.smoothness import path_length
from common.options import RunOptions
from common.stages import in_stage
from common.training.generate import generate_images
from common.training.prepare import is_scored

UNTRAINED = "untrained discriminator"


class Samples(NamedTuple):
    """The first draw: uint8 images (N, S, S[, 3]), and the latents (N, Z) they came from."""

    images: np.ndarray
    latents: np.ndarray


def sample(trainer: Trainer, config: TrainConfig, *, draw: int = 0) -> Samples:
    """The images of one of the draws that are scored; the same latents for both frameworks."""
    latents = evaluation_latents(config.seed, num=NUM_STANDARD, latent_dim=config.latent_dim, draw=draw)
    return Samples(generate_images(trainer, latents), latents)


def score(
    trainer: InspectableTrainer,
    options: RunOptions,
    dataset: Dataset,
    first: Samples,
    *,
    network: OwnNetwork | None = None,
    create_untrained: Callable[[], InspectableTrainer],
) -> Evaluation:
    """Every metric that the data allow, or the quick ones; samples come from the generator's average."""
    config, quick, threads, is_digits = options.config, options.quick_scoring, options.num_threads, is_scored(dataset)

    def draws() -> Iterator[np.ndarray]:
        for draw in in_stage(range(options.draws), "scoring the samples", options.draws):
            yield sample(trainer, config, draw=draw).images if draw else first.images

    if is_digits:
        evaluation = evaluate_samples(draws(), quick=quick, threads=threads)
    else:
        evaluation = evaluate_own(draws(), dataset, space=network, quick=quick, threads=threads)
    paths = range(0 if quick else options.draws)
    speeds = [
        path_length(trainer.generate, seed=config.seed, draw=draw, latent_dim=config.latent_dim)
        for draw in in_stage(paths, "measuring latent paths", len(paths))
    ]
    averaged = f"exponential average, decay {config.generator_average} a step" if config.generator_average else "last"
    evaluation.protocol.update(batch_norm="eval", weights=averaged, checkpoint="last")
    if speeds:
        evaluation.metrics["path_length"] = measured(speeds)
    if is_digits and not quick and len(dataset.train_images) >= NUM_LABELS[0]:
        networks = {
            "discriminator": trainer.discriminator_activations,
            UNTRAINED: create_untrained().discriminator_activations,
        }
        evaluation.discriminator_features.update(
            linear_accuracies(networks, dataset, threads=threads, recurring=[UNTRAINED])
        )
    return evaluation
