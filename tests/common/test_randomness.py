"""Every random number is NumPy's, reached directly by (seed, stream, index), the same bytes for both frameworks."""

import hashlib

import numpy as np
import pytest

from common.data.datasets import load_dataset
from common.data.initial_weights import initial_weights
from common.data.randomness import epoch_permutation, evaluation_latents, fixed_latents, stream, training_latents
from common.networks.build import build_architecture
from common.networks.presets import PRESETS

# A NumPy release that changes its generators would change every result here: these would notice.
PINNED = {
    "permutation": "d79408e1056ae838",
    "second permutation": "6f2f3ce36e8e114f",
    "first batch": "fa572b5f751d73a3",
    "first latents": "94966f9fc93c4bc6",
    "fixed latents": "ca1a297bd3f9336a",
    "evaluation latents": "6a15181eef34cf26",
}
PINNED_WEIGHT = "b89437c3a4b9bab2"


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def test_the_first_permutations_batches_and_latents_are_pinned():
    order = epoch_permutation(0, 0, 60_000)
    latents = training_latents(0, 0, num_batches=1, batch_size=64, latent_dim=100)
    assert {
        "permutation": sha256(order.astype("<i8")),
        "second permutation": sha256(epoch_permutation(0, 1, 60_000).astype("<i8")),
        "first batch": sha256(load_dataset().train_images[order[:64]]),
        "first latents": sha256(latents.astype("<f4")),
        "fixed latents": sha256(fixed_latents(0, num=64, latent_dim=100).astype("<f4")),
        "evaluation latents": sha256(evaluation_latents(0, num=100, latent_dim=100).astype("<f4")),
    } == PINNED


def test_initial_weights_are_pinned():
    config = PRESETS["dcgan32"].recipe
    weights = initial_weights(config, build_architecture(config))
    assert sha256(weights["generator.layers.0.weight"].astype("<f4")) == PINNED_WEIGHT


def test_a_stream_needs_nothing_drawn_before_it():
    alone = training_latents(3, 500, num_batches=2, batch_size=4, latent_dim=5)
    for step in range(3):
        training_latents(3, step, num_batches=2, batch_size=4, latent_dim=5)
    np.testing.assert_array_equal(training_latents(3, 500, num_batches=2, batch_size=4, latent_dim=5), alone)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"name": "other"}, {"index": 1}])
def test_seed_name_and_index_each_change_the_numbers(changed):
    key = {"seed": 0, "name": "stream", "index": 0}
    assert not np.array_equal(stream(**key).random(8), stream(**{**key, **changed}).random(8))


def test_an_epoch_visits_every_image_once():
    np.testing.assert_array_equal(np.sort(epoch_permutation(7, 2, 1000)), np.arange(1000))


def test_latents_are_standard_normal_float32():
    latents = evaluation_latents(0, num=2000, latent_dim=100)
    assert latents.dtype == np.float32
    assert abs(latents.mean()) < 0.01
    assert abs(latents.std() - 1) < 0.01


def test_initial_weights_follow_the_paper():
    config = PRESETS["dcgan32"].recipe
    weights = initial_weights(config, build_architecture(config))
    kernel, scale = weights["generator.layers.3.weight"], weights["generator.layers.1.weight"]
    assert abs(kernel.mean()) < 1e-3
    assert kernel.std() == pytest.approx(0.02, rel=0.02)
    assert scale.mean() == pytest.approx(1, abs=0.01)  # N(1, 0.02), not N(0, 0.02)
    assert (weights["generator.layers.1.bias"] == 0).all()
    assert (weights["generator.layers.1.running_var"] == 1).all()
    assert weights["generator.adam.step"] == 0


def test_layers_of_equal_shape_start_from_different_numbers():
    config = PRESETS["dcgan32"].recipe
    weights = initial_weights(config, build_architecture(config))
    generator, discriminator = weights["generator.layers.3.weight"], weights["discriminator.layers.5.weight"]
    assert generator.shape == discriminator.shape
    assert not np.array_equal(generator, discriminator)
