"""The generator's average is the textbook one in either framework, whatever the chunks, and never touches training."""

import numpy as np
import pytest

from common.data.randomness import fixed_latents
from common.training.averaging import GeneratorAverage
from common.training.chunk_data import chunk_data
from tests.trainers import FRAMEWORKS, build, chunk_of, real_digits, small_config, steps_of

SMALLEST = "dcgan28"
TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
pytestmark = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_after_100_steps_it_is_that_of_numpy(precision, framework):
    config = small_config(SMALLEST, precision=precision, batch_size=4)
    trainer, chunk = build(framework, config), chunk_of(config, num_steps=100)
    witness = GeneratorAverage(trainer.export_weights())
    for step in range(100):
        trainer.train_chunk(*steps_of(chunk, step, step + 1))
        witness.update(trainer.export_weights(), chunk.decays[step])
    for name, array in trainer.export_average().items():
        scale = np.linalg.norm(witness.weights[name])
        assert np.linalg.norm(array - witness.weights[name]) <= TOLERANCES[precision] * scale, name


@pytest.mark.parametrize("num_steps", [97, pytest.param(937, marks=pytest.mark.slow)])  # the latter are an epoch
def test_chunks_of_one_step_of_16_and_of_all_leave_the_same_bytes(num_steps, framework):
    config = small_config(SMALLEST, batch_size=2, latent_dim=4)
    images = np.tile(real_digits(config.image_size), (4, 1, 1))[: 2 * num_steps]
    order = np.random.default_rng(0).permutation(len(images))
    chunk = chunk_data(config, order, 0, num_steps, first_step=0)
    found = []
    for length in (1, 16, num_steps):
        trainer = build(framework, config, images=images)
        starts = range(0, num_steps, length)
        metrics = [trainer.train_chunk(*steps_of(chunk, start, start + length)) for start in starts]
        tensors = [*trainer.export_weights().values(), *trainer.export_average().values()]
        losses = np.concatenate([np.stack(of_chunk) for of_chunk in metrics], axis=1)
        assert losses.shape == (4, num_steps)
        found.append([losses.tobytes(), *(array.tobytes() for array in tensors)])
    assert found[0] == found[1] == found[2]


def test_samples_are_drawn_from_it_and_training_does_not_see_it(framework):
    losses, images = [], []
    latents = fixed_latents(0, num=4, latent_dim=16)
    for decay in (0.0, 0.998):
        config = small_config(generator_average=decay)
        trainer = build(framework, config)
        losses.append(np.stack(trainer.train_chunk(*chunk_of(config, num_steps=3))))
        weights, average = trainer.export_weights(), trainer.export_average()
        images.append(trainer.generate(latents))
        trainer.load_weights(weights | average)
        np.testing.assert_array_equal(trainer.generate(latents), images[-1])
    np.testing.assert_array_equal(*losses)
    assert not np.array_equal(*images)
