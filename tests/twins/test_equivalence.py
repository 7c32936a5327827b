"""Equal weights, batches and latents give equal numbers in both frameworks: in float64 to rounding."""

from dataclasses import replace

import numpy as np
import pytest

from common.data.randomness import fixed_latents
from common.networks.build import build_architecture, count_parameters
from common.networks.presets import PRESETS
from tests.trainers import (
    DISTINCT_PRESETS,
    FRAMEWORKS,
    build,
    build_networks,
    chunk_of,
    slowly,
    small_architecture,
    small_config,
    steps_of,
)

TWO_UPDATES = "two generator updates"
RECIPES = {
    "default": {},
    "idiomatic": {"variant": "idiomatic"},
    "fresh latents": {"generator_latents": "fresh"},
    TWO_UPDATES: {"generator_updates": 2},
    "three fresh updates": {"generator_updates": 3, "generator_latents": "fresh"},
    "smoothed targets": {"real_target": 0.9, "fake_target": 0.1, "generator_target": 0.95},
    "other optimizer": {
        "learning_rate_discriminator": 1e-4,
        "learning_rate_generator": 3e-4,
        "beta1": 0.9,
        "beta2": 0.99,
    },
}


def relative_l2(measured: np.ndarray, reference: np.ndarray) -> float:
    scale = float(np.linalg.norm(reference))
    difference = float(np.linalg.norm(measured - reference))
    return difference / scale if scale else difference


FAST = ("dcgan32", "seed001", "seed004-mlp")  # convolutions alone, with Linear layers between them, Linear layers alone


@pytest.mark.parametrize("preset", [*FAST, *slowly(*(name for name in DISTINCT_PRESETS if name not in FAST))])
def test_float32_losses_of_an_odd_first_batch_agree_to_1e_5_and_images_have_the_presets_size(preset, digits):
    config = small_config(preset, batch_size=5)
    chunk, size = chunk_of(config, num_steps=1), config.image_size
    trainers = [build(framework, config) for framework in FRAMEWORKS]
    torch_metrics, jax_metrics = (trainer.train_chunk(*chunk) for trainer in trainers)
    assert np.isfinite(torch_metrics).all()
    for name, torch_values, jax_values in zip(torch_metrics._fields, torch_metrics, jax_metrics, strict=True):
        np.testing.assert_allclose(jax_values, torch_values, rtol=1e-5, err_msg=name)
    for trainer in trainers:
        assert trainer.generate(np.zeros((3, config.latent_dim), np.float32)).shape == (3, size, size)


@pytest.mark.slow  # as the ladder, which shows more at this width
def test_the_default_preset_at_full_width_stays_within_2_percent_for_ten_float32_steps(digits):
    config = replace(PRESETS["dcgan32"].recipe, batch_size=48)  # 480 of the digits at hand
    architecture = build_architecture(config)
    losses = []
    for framework in FRAMEWORKS:
        trainer = build_networks(framework, config, architecture)
        metrics = trainer.train_chunk(*chunk_of(config, num_steps=10))
        losses.append(np.stack([metrics.discriminator_loss, metrics.generator_loss]))
    differences = np.abs(losses[1] / losses[0] - 1)
    assert differences[:, 0].max() < 1e-4
    assert differences.max() < 2e-2


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != TWO_UPDATES] + slowly(TWO_UPDATES))
def test_float64_training_agrees_to_rounding_in_every_tensor_after_three_steps(recipe, digits):
    config = small_config(precision="float64", **RECIPES[recipe])
    chunk = chunk_of(config, num_steps=3)
    torch_trainer, jax_trainer = (build(framework, config) for framework in FRAMEWORKS)
    for torch_values, jax_values in zip(
        torch_trainer.train_chunk(*chunk), jax_trainer.train_chunk(*chunk), strict=True
    ):
        np.testing.assert_allclose(jax_values, torch_values, rtol=1e-11)
    jax_weights = jax_trainer.export_weights()
    errors = {name: relative_l2(jax_weights[name], array) for name, array in torch_trainer.export_weights().items()}
    assert {name: error for name, error in errors.items() if not error < 1e-11} == {}


@pytest.mark.parametrize(
    "preset", ["dcgan32", *slowly(*(preset for preset in DISTINCT_PRESETS if preset != "dcgan32"))]
)
def test_float64_images_in_eval_mode_agree_after_training(preset, digits):
    config = small_config(preset, precision="float64")
    chunk = chunk_of(config, num_steps=2)
    latents = fixed_latents(0, num=5, latent_dim=config.latent_dim)
    images = []
    for framework in FRAMEWORKS:
        trainer = build(framework, config)
        trainer.train_chunk(*chunk)
        images.append(trainer.generate(latents))
    # So early in training an image is nearly gray; seed003, whose last kernel is a single pixel, has the least: 6e-6.
    contrast = images[0].std()
    assert contrast > 1e-6
    np.testing.assert_allclose(images[0], images[1], rtol=0, atol=1e-5 * contrast)  # the contract hands out float32


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_tuned_and_the_idiomatic_variant_are_the_same_gan(framework, digits):
    chunk = chunk_of(small_config(), num_steps=3)
    weights = []
    for variant in ("tuned", "idiomatic"):
        trainer = build(framework, small_config(precision="float64", variant=variant))
        trainer.train_chunk(*chunk)
        weights.append(trainer.export_weights())
    assert max(relative_l2(weights[1][name], array) for name, array in weights[0].items()) < 1e-11


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
def test_weights_go_from_torch_to_jax_and_back_bit_exact_with_optimizer_state(preset, precision, digits):
    config = small_config(preset, precision=precision)
    torch_trainer, jax_trainer = (build(framework, config) for framework in FRAMEWORKS)
    torch_trainer.train_chunk(*chunk_of(config, num_steps=2))
    weights = torch_trainer.export_weights()
    jax_trainer.load_weights(weights)
    through_jax = jax_trainer.export_weights()
    torch_trainer.load_weights(through_jax)
    for name, array in torch_trainer.export_weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
        np.testing.assert_array_equal(through_jax[name], weights[name], err_msg=name)


def test_jax_continues_what_torch_started_in_float64(digits):
    config = small_config(precision="float64")
    chunk = chunk_of(config, num_steps=4)
    whole, first, second = build("torch", config), build("torch", config), build("jax", config)
    whole.train_chunk(*chunk)
    first.train_chunk(*steps_of(chunk, 0, 2))
    second.load_weights(first.export_weights())
    second.train_chunk(*steps_of(chunk, 2, 4))
    resumed = second.export_weights()
    assert max(relative_l2(resumed[name], array) for name, array in whole.export_weights().items()) < 1e-11


@pytest.mark.parametrize(
    "difference",
    [{"beta1": 0.6}, {"learning_rate_generator": 2.02e-4}, {"generator_target": 0.99}, {"generator_latents": "fresh"}],
)
def test_this_comparison_notices_a_small_difference_in_the_recipe(difference, digits):
    config, other = small_config(precision="float64"), small_config(precision="float64", **difference)
    torch_trainer, jax_trainer = build("torch", config), build("jax", other)
    torch_trainer.train_chunk(*chunk_of(config, num_steps=3))
    jax_trainer.train_chunk(*chunk_of(other, num_steps=3))
    jax_weights = jax_trainer.export_weights()
    errors = (relative_l2(jax_weights[name], array) for name, array in torch_trainer.export_weights().items())
    assert max(errors) > 1e-6


@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
def test_both_frameworks_hold_as_many_parameters_as_the_architecture_says(preset):
    import jax
    from flax import nnx

    config = small_config(preset)
    expected = count_parameters(small_architecture(config))
    torch_trainer, jax_trainer = (build(framework, config) for framework in FRAMEWORKS)
    for network, count in expected.items():
        torch_parameters = getattr(torch_trainer, network).parameters()
        jax_parameters = jax.tree.leaves(nnx.state(getattr(jax_trainer, network), nnx.Param))
        assert sum(parameter.numel() for parameter in torch_parameters) == count
        assert sum(parameter.size for parameter in jax_parameters) == count
