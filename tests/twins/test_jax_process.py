"""A JAX trainer leaves its process as it found it: precision and device are its own."""

import jax
import jax.numpy as jnp
import numpy as np

from common.data.datasets import fit_images
from tests.trainers import build, chunk_of, small_config


def test_a_float64_trainer_leaves_the_process_in_float32_whatever_it_is_asked_for(digits):
    config = small_config(precision="float64")
    trainer = build("jax", config)
    trainer.train_chunk(*chunk_of(config, num_steps=1))
    trainer.generate(np.zeros((2, config.latent_dim), np.float32))
    images = fit_images(digits[:2], config.image_size)
    trainer.discriminator_activations(images)
    trainer.discriminator_gradients(images, layer=0, channels=np.array([0, 1]))
    trainer.load_weights(trainer.export_weights())
    trainer.wait()
    assert jnp.ones(1, float).dtype == jnp.float32
    assert jax.config.jax_enable_x64 is False  # pyright: ignore[reportAttributeAccessIssue]


def test_a_float32_trainer_computes_the_same_beside_a_float64_one(digits):
    config = small_config()
    chunk = chunk_of(config, num_steps=1)
    alone = build("jax", config).train_chunk(*chunk)
    first, other = build("jax", config), build("jax", small_config(precision="float64"))
    other.train_chunk(*chunk)
    np.testing.assert_array_equal(first.train_chunk(*chunk), alone)
