"""What is particular about the seed documents' systems, in both frameworks."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from common.data.initial_weights import initial_weights
from common.networks.build import build_architecture, weight_shapes
from common.networks.layers import BatchNorm, Linear
from common.networks.presets import PRESETS
from comparison.parity.divergence import relative_l2
from jax_impl.weights import to_canonical, to_native
from tests.trainers import FRAMEWORKS, build, chunk_of, small_config
from torch_impl.layers import build_layer, select


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("preset", ["seed001", "seed004"])
def test_uniform_initial_weights_spread_as_pytorch_s_own(preset):
    """Compared as distributions: the largest number, and the standard deviation of tensors with enough of them."""
    config = replace(PRESETS[preset].recipe, initialization="uniform")
    architecture = build_architecture(config)
    weights = initial_weights(config, architecture)
    form = select(config)
    torch.manual_seed(0)
    for network in ("generator", "discriminator"):
        for index, spec in enumerate(getattr(architecture, network)):
            for name, theirs in build_layer(spec, form).named_parameters():
                ours, theirs = weights[f"{network}.layers.{index}.{name}"], theirs.detach().numpy()
                if isinstance(spec, BatchNorm):
                    np.testing.assert_array_equal(ours, theirs)
                    continue
                layer: Any = build_layer(spec, form)
                fan_in, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)
                assert np.abs(ours).max() <= 1 / math.sqrt(fan_in)
                if ours.size > 500:
                    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)
                    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
                    assert abs(ours.mean()) < 0.2 * ours.std()


@pytest.mark.parametrize(
    "spec", [Linear(3, 5, in_size=4), Linear(3, 5, out_size=2), Linear(2, 3, in_size=3, out_size=2), Linear(6, 7)]
)
def test_a_fully_connected_layer_s_weights_come_back_from_flax_s_order_as_they_were(spec, rng):
    weight, bias = rng.standard_normal((spec.out_features, spec.in_features)), rng.standard_normal(spec.out_features)
    kernel = to_native(weight, spec)
    assert kernel.shape == (spec.in_features, spec.out_features)
    np.testing.assert_array_equal(to_canonical(kernel, spec), weight)
    np.testing.assert_array_equal(to_canonical(to_native(bias, spec), spec), bias)
    # What the reordered layer makes of a flattened NHWC image is the flattened NHWC image of what torch's makes.
    image = rng.standard_normal((spec.in_channels, spec.in_size, spec.in_size))
    torch_outputs = (weight @ image.ravel() + bias).reshape(spec.out_channels, spec.out_size, spec.out_size)
    flax_outputs = image.transpose(1, 2, 0).ravel() @ kernel + to_native(bias, spec)
    np.testing.assert_allclose(flax_outputs, torch_outputs.transpose(1, 2, 0).ravel(), rtol=1e-12)


def test_the_padding_of_the_last_layer_of_seed003_crops_32_pixels_to_28(rng):
    config = small_config("seed003", precision="float64")
    generator: Any = build("torch", config).generator  # pyright: ignore[reportAttributeAccessIssue]
    generator.eval()
    latents = torch.from_numpy(rng.standard_normal((2, config.latent_dim)))
    with torch.no_grad():
        images = generator(latents)
        maps = nn.Sequential(*list(generator)[:-2])(latents[:, :, None, None])
    assert maps.shape[2:] == (32, 32)
    kernel = generator[-2].weight[:, 0, 0, 0]
    expected = torch.tanh(torch.einsum("nchw,c->nhw", maps, kernel))[:, 2:30, 2:30]
    torch.testing.assert_close(images[:, 0], expected)


@pytest.mark.parametrize("variant", ["tuned", "idiomatic"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("preset", ["seed001", "seed004"])
def test_only_a_bias_that_batchnorm_takes_away_keeps_its_initial_value(preset, framework, variant, digits):
    config = small_config(preset, variant=variant)
    trainer = build(framework, config)
    before = trainer.export_weights()
    trainer.train_chunk(*chunk_of(config, num_steps=2))
    after = trainer.export_weights()
    architecture = build_architecture(config)
    taken_away = {
        f"{network}.layers.{index}.bias"
        for network in ("generator", "discriminator")
        for index, (_, following) in enumerate(pairwise(getattr(architecture, network)))
        if isinstance(following, BatchNorm)
    }
    kept = {name for name in weight_shapes(architecture) if np.array_equal(before[name], after[name])}
    assert kept == taken_away
    assert not any(after[f"{name}.adam.exp_avg_sq"].any() for name in taken_away)


@pytest.mark.parametrize("preset", ["paper64-rgb", "seed004-mlp"])
def test_colour_images_train_alike_in_both_frameworks(preset, rng):
    config = small_config(preset, precision="float64", batch_size=4)
    size = config.image_size
    images = rng.integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    torch_trainer, jax_trainer = (build(framework, config, image_channels=3, images=images) for framework in FRAMEWORKS)
    chunk = chunk_of(config, num_steps=2)
    losses = [trainer.train_chunk(*chunk).discriminator_loss for trainer in (torch_trainer, jax_trainer)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-11)
    jax_weights = jax_trainer.export_weights()
    for name, array in torch_trainer.export_weights().items():
        assert relative_l2(jax_weights[name], array) < 1e-11, name
    shown = [trainer.generate(chunk.latents[0, 0]) for trainer in (torch_trainer, jax_trainer)]
    assert shown[0].shape == (4, size, size, 3)
    np.testing.assert_allclose(shown[1], shown[0], rtol=0, atol=1e-7)
