"""Sampling from the generator's average never touches training, in either framework."""

import numpy as np
import pytest

from common.data.datasets import fit_images
from common.data.randomness import fixed_latents
from common.records.folder import RunFolder
from common.training.averaging import GeneratorAverage
from common.training.loop import TrainingLoop
from common.training.start import Start
from tests.common.test_loop import Silent
from tests.trainers import FRAMEWORKS, build, chunk_of, small_config


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sampling_from_it_uses_it_and_leaves_the_trainer_as_it_was(framework, digits):
    config = small_config()
    trainer = build(framework, config)
    average = GeneratorAverage(0.998, trainer.export_weights())  # the initial weights
    latents = fixed_latents(0, num=4, latent_dim=config.latent_dim)
    initial_images = trainer.generate(latents)
    trainer.train_chunk(*chunk_of(config, digits, num_steps=3))
    before = trainer.export_weights()
    with average.applied(trainer):
        np.testing.assert_array_equal(trainer.generate(latents), initial_images)
    after = trainer.export_weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not np.array_equal(trainer.generate(latents), initial_images)


def test_training_with_and_without_it_gives_the_same_losses(digits, tmp_path):
    losses = []
    for decay in (0.0, 0.998):
        config = small_config(epochs=2, generator_average=decay)
        folder = RunFolder.create(tmp_path / str(decay))
        images = fit_images(digits[:32], 32)
        trainer = build("torch", config)
        start = Start(trainer.export_weights())
        loop = TrainingLoop(trainer, config, images, start, folder, Silent())
        loop.run()
        losses.append(loop.log.losses)
    assert losses[0] == losses[1]
