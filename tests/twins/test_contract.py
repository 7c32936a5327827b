"""What the training loop may expect of a trainer, asked of both implementations alike."""

import numpy as np
import pytest

from common.contract import StepMetrics, WeightsError, expected_shapes, is_averaged
from common.data.datasets import fit_images
from common.data.initial_weights import initial_weights
from common.data.randomness import evaluation_latents
from common.networks.build import weight_shapes
from tests.trainers import (
    DISTINCT_PRESETS,
    FRAMEWORKS,
    build,
    chunk_of,
    real_digits,
    small_architecture,
    small_config,
    steps_of,
)

SMALLEST = "dcgan28"  # it has the fewest layers, and JAX traces the step of each trainer anew

pytestmark = pytest.mark.parametrize("framework", FRAMEWORKS)


def test_training_changes_every_parameter_and_every_running_statistic(framework, digits):
    config = small_config(SMALLEST)
    trainer = build(framework, config)
    before = trainer.export_weights()
    trainer.train_chunk(*chunk_of(config, num_steps=2))
    after = trainer.export_weights()
    unchanged = [name for name in after if np.array_equal(before[name], after[name])]
    assert unchanged == []


def test_arrays_that_nobody_may_write_are_taken_like_any_other(framework, digits):
    config = small_config(SMALLEST)
    chunk, images = chunk_of(config, num_steps=1), real_digits(config.image_size).copy()
    for array in (*chunk, images):
        array.flags.writeable = False
    trainer = build(framework, config, images=images)  # a warning is an error here
    trainer.train_chunk(*chunk)
    trainer.generate(chunk.latents[0, 0])
    trainer.discriminator_activations(images[:8])


def test_a_chunk_returns_one_finite_value_of_each_metric_a_step(framework, digits):
    config = small_config(SMALLEST)
    metrics = build(framework, config).train_chunk(*chunk_of(config, num_steps=3))
    assert isinstance(metrics, StepMetrics)
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in metrics)
    assert all((values > 0).all() and (values < 1).all() for values in (metrics.real_score, metrics.fake_score))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_chunks_are_the_same_as_one(precision, framework, digits):
    config = small_config(SMALLEST, precision=precision)
    chunk = chunk_of(config, num_steps=4)
    whole, halves = build(framework, config), build(framework, config)
    whole.train_chunk(*chunk)
    halves.train_chunk(*steps_of(chunk, 0, 1))
    halves.train_chunk(*steps_of(chunk, 1, 4))
    halves_weights = halves.export_weights()
    for name, array in whole.export_weights().items():
        np.testing.assert_array_equal(array, halves_weights[name], err_msg=name)


def test_training_twice_from_the_same_weights_is_bit_identical(framework, digits):
    config = small_config(SMALLEST)
    chunk = chunk_of(config, num_steps=3)
    first, second = build(framework, config).train_chunk(*chunk), build(framework, config).train_chunk(*chunk)
    np.testing.assert_array_equal(first, second)


def test_weights_come_back_bit_exact_optimizer_state_included(framework, digits):
    config = small_config(SMALLEST)
    trained, fresh = build(framework, config), build(framework, config)
    trained.train_chunk(*chunk_of(config, num_steps=2))
    weights = trained.export_weights()
    fresh.load_weights(weights)
    restored = fresh.export_weights()
    assert list(restored) == list(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(restored[name], array, err_msg=name)


def test_a_trainer_continues_from_exported_weights_as_if_never_interrupted(framework, digits):
    config = small_config(SMALLEST)
    chunk = chunk_of(config, num_steps=4)
    whole, first, second = (build(framework, config) for _ in range(3))
    whole.train_chunk(*chunk)
    first.train_chunk(*steps_of(chunk, 0, 2))
    second.load_weights(first.export_weights(), first.export_average())
    second.train_chunk(*steps_of(chunk, 2, 4))
    resumed, resumed_average = second.export_weights(), second.export_average()
    for name, array in whole.export_weights().items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    for name, array in whole.export_average().items():
        np.testing.assert_array_equal(resumed_average[name], array, err_msg=name)


def test_exported_weights_do_not_change_when_training_goes_on(framework, digits):
    config = small_config(SMALLEST)
    trainer = build(framework, config)
    chunk = chunk_of(config, num_steps=1)
    trainer.train_chunk(*chunk)
    exported = trainer.export_weights()
    copies = {name: array.copy() for name, array in exported.items()}
    trainer.train_chunk(*chunk)
    for name, array in exported.items():
        np.testing.assert_array_equal(array, copies[name], err_msg=name)


def test_the_average_begins_as_the_weights_moves_with_them_and_is_a_copy(framework):
    config = small_config(SMALLEST)
    trainer = build(framework, config)
    initial, average = trainer.export_weights(), trainer.export_average()
    assert average.keys() == {name for name in initial if is_averaged(name)}
    for name, array in average.items():
        np.testing.assert_array_equal(array, initial[name], err_msg=name)
    trainer.train_chunk(*chunk_of(config, num_steps=1)._replace(decays=np.array([0.75])))
    weights = trainer.export_weights()
    for name, array in trainer.export_average().items():
        np.testing.assert_allclose(array, 0.75 * initial[name] + 0.25 * weights[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(average[name], initial[name], err_msg=name)


def test_an_average_that_keeps_nothing_is_the_last_weights_exactly(framework):
    config = small_config(SMALLEST, generator_average=0.0)
    trainer = build(framework, config)
    trainer.train_chunk(*chunk_of(config, num_steps=2))
    weights = trainer.export_weights()
    for name, array in trainer.export_average().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


@pytest.mark.parametrize("num_images", [1, 7, 501])
def test_generated_images_are_float32_in_range_for_any_number_of_latents(framework, num_images):
    config = small_config()
    images = build(framework, config).generate(evaluation_latents(0, num=num_images, latent_dim=config.latent_dim))
    assert images.shape == (num_images, 32, 32)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1


def test_generating_leaves_the_weights_alone_and_an_image_does_not_depend_on_its_batch_mates(framework):
    config = small_config(SMALLEST)
    trainer = build(framework, config)
    before = trainer.export_weights()
    latents = evaluation_latents(0, num=6, latent_dim=config.latent_dim)
    together = trainer.generate(latents)
    alone = np.concatenate([trainer.generate(latents[index : index + 1]) for index in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    after = trainer.export_weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_colour_images_keep_their_channels_last(framework):
    config = small_config()
    images = np.random.default_rng(0).integers(0, 256, (config.batch_size, 32, 32, 3), dtype=np.uint8)
    trainer, chunk = build(framework, config, image_channels=3, images=images), chunk_of(config, num_steps=1)
    assert np.isfinite(trainer.train_chunk(*chunk)).all()
    assert trainer.generate(chunk.latents[0, 0]).shape == (config.batch_size, 32, 32, 3)


def test_float64_weights_stay_float64_through_training(framework, digits):
    config = small_config(SMALLEST, precision="float64")
    trainer = build(framework, config)
    trainer.train_chunk(*chunk_of(config, num_steps=1))
    kinds = {name: array.dtype for name, array in trainer.export_weights().items() if not name.endswith("step")}
    assert set(kinds.values()) == {np.dtype(np.float64)}, kinds


def test_the_generator_meets_the_updated_discriminator_in_bfloat16_too(framework, digits):
    """Autocast may keep bfloat16 copies of weights: of those the discriminator had before its update."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = small_config(SMALLEST, precision=precision, learning_rate_discriminator=0.05)
        losses[precision] = build(framework, config).train_chunk(*chunk_of(config, num_steps=1)).generator_loss
    before_the_update = np.log(2)
    assert abs(losses["float32"] - before_the_update) > 0.1
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.1)


def test_bfloat16_trains_float32_weights(framework, digits):
    config = small_config(SMALLEST, precision="bfloat16")
    trainer = build(framework, config)
    metrics = trainer.train_chunk(*chunk_of(config, num_steps=2))
    reference = build(framework, small_config(SMALLEST)).train_chunk(*chunk_of(config, num_steps=2))
    np.testing.assert_allclose(metrics.discriminator_loss, reference.discriminator_loss, rtol=0.05)
    assert not np.array_equal(metrics.discriminator_loss, reference.discriminator_loss)
    assert trainer.export_weights()["generator.layers.0.weight"].dtype == np.float32


def test_steps_are_counted_for_each_network(framework, digits):
    config = small_config(SMALLEST, generator_updates=2)
    trainer = build(framework, config)
    trainer.train_chunk(*chunk_of(config, num_steps=3))
    weights = trainer.export_weights()
    assert (weights["discriminator.adam.step"], weights["generator.adam.step"]) == (3, 6)


def test_wrong_weights_are_refused_naming_the_tensor(framework):
    config = small_config(SMALLEST)
    trainer = build(framework, config)
    weights = initial_weights(config, small_architecture(config))
    name = "generator.layers.3.weight"
    missing = {key: array for key, array in weights.items() if key != name}
    with pytest.raises(WeightsError, match=name.replace(".", r"\.") + " is missing"):
        trainer.load_weights(missing)
    with pytest.raises(WeightsError, match=r"generator\.layers\.99\.weight is unknown"):
        trainer.load_weights({**weights, "generator.layers.99.weight": weights[name]})
    with pytest.raises(WeightsError, match=name.replace(".", r"\.") + " has shape"):
        trainer.load_weights({**weights, name: weights[name].transpose(1, 0, 2, 3)})
    with pytest.raises(WeightsError, match=name.replace(".", r"\.") + " is float64"):
        trainer.load_weights({**weights, name: weights[name].astype(np.float64)})


@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
def test_exported_names_and_shapes_are_those_of_the_architecture(framework, preset):
    config = small_config(preset)
    architecture = small_architecture(config)
    shapes = {name: array.shape for name, array in build(framework, config).export_weights().items()}
    assert shapes == expected_shapes(architecture)
    assert set(weight_shapes(architecture)) <= set(shapes)


def test_the_discriminators_activations_are_one_map_a_leaky_relu_and_the_same_in_both_frameworks(framework, digits):
    config = small_config()
    trainer = build(framework, config)
    images = fit_images(digits[:6], config.image_size)
    activations = trainer.discriminator_activations(images)
    assert [maps.shape[:1] + maps.shape[2:] for maps in activations] == [(6, 16, 16), (6, 8, 8), (6, 4, 4)]
    assert all(maps.dtype == np.float32 and (maps < 0).any() for maps in activations)
    for maps, expected in zip(activations, build("torch", config).discriminator_activations(images), strict=True):
        np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_looking_at_activations_leaves_training_as_it_was(framework, digits):
    config = small_config(SMALLEST)
    chunk = chunk_of(config, num_steps=1)
    looked, plain = build(framework, config), build(framework, config)
    looked.discriminator_activations(fit_images(digits[:6], config.image_size))
    np.testing.assert_array_equal(looked.train_chunk(*chunk), plain.train_chunk(*chunk))
