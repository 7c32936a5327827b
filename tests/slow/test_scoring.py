"""What a run asks of its trainer to be scored, and that each framework is asked for the same."""

from collections.abc import Iterator

import pytest

import common.training.scoring
from common.data.datasets import load_dataset, prepare_dataset
from common.evaluation import Evaluation
from common.options import RunOptions
from common.training.scoring import sample, score
from tests.trainers import FRAMEWORKS, build, small_config

pytestmark = pytest.mark.slow  # a full score of two frameworks


@pytest.fixture(scope="module")
def scored() -> Iterator[dict[str, Evaluation]]:
    """Both frameworks, untrained, with equal weights: two draws of 1,000 samples, 1,100 labelled digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common.training.scoring, "NUM_STANDARD", 1000)
        yield {framework: score_of(framework) for framework in FRAMEWORKS}


def score_of(framework: str) -> Evaluation:
    config = small_config(train_size=1100, generator_average=0.9)
    dataset = prepare_dataset(load_dataset(), image_size=config.image_size, train_size=config.train_size)
    trainer = build(framework, config)
    return score(
        trainer,
        RunOptions(config=config, draws=2, threads=2),
        dataset,
        sample(trainer, config),
        create_untrained=lambda: build(framework, config),
    )


def test_equal_weights_score_equally_in_both_frameworks(scored):
    metrics = {framework: evaluation.metrics for framework, evaluation in scored.items()}
    assert metrics["torch"].keys() == metrics["jax"].keys()
    for name, metric in metrics["torch"].items():
        assert metrics["jax"][name]["value"] == pytest.approx(metric["value"], rel=0.02, abs=0.02), name
    assert metrics["torch"]["path_length"]["value"] > 0
    assert metrics["torch"]["path_length"]["floor"] is None


def test_an_untrained_discriminator_scores_as_an_untrained_one(scored):
    for evaluation in scored.values():
        found = evaluation.discriminator_features
        assert found["labels"] == [1000]
        assert found["accuracy"]["discriminator"] == found["accuracy"]["untrained discriminator"]
        assert found["accuracy"]["pixels"][0] > 0.8


def test_the_protocol_says_which_weights_were_sampled_and_how(scored):
    for evaluation in scored.values():
        protocol = evaluation.protocol
        assert (protocol["batch_norm"], protocol["checkpoint"], protocol["num_draws"]) == ("eval", "last", 2)
        assert protocol["weights"] == "exponential average, decay 0.9 a step"
