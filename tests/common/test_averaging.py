"""The generator's average is the textbook one, never touches training, and is the same in both frameworks."""

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

NAME = "generator.layers.0.weight"


def test_it_moves_towards_the_weights_by_one_minus_the_decay():
    average = GeneratorAverage(0.9, {NAME: np.array([0.0])})
    for step in range(1000, 1003):
        average.update({NAME: np.array([1.0])}, step=step, num_steps=1)
    np.testing.assert_allclose(average.weights[NAME], 1 - 0.9**3)


def test_one_update_for_a_chunk_forgets_as_much_as_one_a_step():
    average = GeneratorAverage(0.9, {NAME: np.array([0.0])})
    average.update({NAME: np.array([1.0])}, step=1000, num_steps=16)
    np.testing.assert_allclose(average.weights[NAME], 1 - 0.9**16)


def test_early_on_its_memory_is_short():
    average = GeneratorAverage(0.998, {NAME: np.array([0.0])})
    average.update({NAME: np.array([1.0])}, step=16, num_steps=16)
    np.testing.assert_allclose(average.weights[NAME], 1 - (17 / 26) ** 16)


def test_a_decay_of_zero_is_the_last_weights_exactly():
    last = np.array([0.1, -0.3], np.float32)
    average = GeneratorAverage(0.0, {NAME: np.ones(2, np.float32)})
    average.update({NAME: last}, step=500, num_steps=1)
    np.testing.assert_array_equal(average.weights[NAME], last)


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
