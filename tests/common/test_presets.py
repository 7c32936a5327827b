"""The seed documents' systems: their networks, their initial weights, and what is particular about each."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from common.config import TrainConfig
from common.data.initial_weights import initial_weights
from common.networks import families
from common.networks.build import architecture_of, build_architecture, count_parameters, weight_shapes
from common.networks.layers import BatchNorm, Conv, ConvTranspose, LayerSpec, Linear
from common.networks.presets import PRESETS, Preset
from common.options import parse_options
from comparison.parity.divergence import relative_l2
from comparison.publish.systems_tables import architecture_of_preset
from jax_impl.weights import to_canonical, to_native
from tests.trainers import FRAMEWORKS, build, chunk_of, small_config
from torch_impl.layers import build_layer, select

# Of the generator and the discriminator, as the documents or their published code print them, or imply; paper64-rgb's
# are those of seed002 with three channels.
DOCUMENTED_COUNTS = {
    "seed000": (3_574_656, 2_763_520),
    "seed001": (1_070_657, 661_313),
    "seed002": (12_654_336, 11_032_064),
    "seed003": (3_573_696, 661_248),
    "seed004": (1_911_681, 659_905),
    "seed001-no-batchnorm": (1_070_273, 660_929),
    "seed004-smoothing": (1_911_681, 659_905),
    "seed004-ttur": (1_911_681, 659_905),
    "seed004-mlp": (1_486_352, 1_460_225),
    "seed004-mlp-ttur": (1_526_288, 1_460_225),
    "paper64-rgb": (12_658_432, 11_036_160),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("preset", DOCUMENTED_COUNTS)
def test_a_document_s_networks_have_as_many_parameters_as_it_says(preset):
    counts = count_parameters(architecture_of_preset(preset))
    assert (counts["generator"], counts["discriminator"]) == DOCUMENTED_COUNTS[preset]


def output_size(specs: tuple[LayerSpec, ...], size: int) -> int:
    """The side of the last map, of a square one of `size`."""
    for spec in specs:
        match spec:
            case Conv():
                size = (size + 2 * spec.padding - spec.kernel_size) // spec.stride + 1
            case ConvTranspose():
                size = (size - 1) * spec.stride - 2 * spec.padding + spec.kernel_size
            case Linear():
                assert spec.in_size == size
                size = spec.out_size
    return size


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_named_as_it_is_called_and_its_networks_fit_its_images(preset):
    config = PRESETS[preset].recipe
    assert config.preset == preset
    architecture = build_architecture(config)
    assert output_size(architecture.generator, 1) == config.image_size
    assert output_size(architecture.discriminator, config.image_size) == 1


def test_a_preset_needs_one_entry_and_nothing_else(monkeypatch):
    mine = Preset(families.dcgan28, 8, TrainConfig(preset="mine", image_size=28, batch_size=16))
    monkeypatch.setitem(PRESETS, "mine", mine)
    options = parse_options(["--preset", "mine", "--epochs", "3"], program="", description="")
    assert options.config == replace(mine.recipe, epochs=3)
    architecture = build_architecture(options.config)
    assert architecture.image_size == 28
    weights = initial_weights(options.config, architecture)
    assert architecture_of(options.config, weights) == architecture


def test_without_batch_norm_only_batch_norm_is_missing():
    with_it, without = (build_architecture(PRESETS[name].recipe) for name in ("seed001", "seed001-no-batchnorm"))
    for network in ("generator", "discriminator"):
        kept = [spec for spec in getattr(with_it, network) if not isinstance(spec, BatchNorm)]
        assert kept == list(getattr(without, network))
        assert len(kept) < len(getattr(with_it, network))


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


def test_normal_initial_weights_of_a_fully_connected_layer_have_the_paper_s_deviation():
    config = PRESETS["seed004-mlp"].recipe
    weights = initial_weights(config, build_architecture(config))
    assert weights["generator.layers.2.weight"].std() == pytest.approx(0.02, rel=0.01)
    assert not weights["generator.layers.2.bias"].any()


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
    trainer.train_chunk(*chunk_of(config, digits, num_steps=2))
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
    images = rng.integers(0, 256, (2, 4, size, size, 3), dtype=np.uint8)
    latents = rng.standard_normal((2, config.latent_batches, 4, config.latent_dim)).astype(np.float32)
    torch_trainer, jax_trainer = (build(framework, config, image_channels=3) for framework in FRAMEWORKS)
    losses = [trainer.train_chunk(images, latents).discriminator_loss for trainer in (torch_trainer, jax_trainer)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-11)
    jax_weights = jax_trainer.export_weights()
    for name, array in torch_trainer.export_weights().items():
        assert relative_l2(jax_weights[name], array) < 1e-11, name
    shown = [trainer.generate(latents[0, 0]) for trainer in (torch_trainer, jax_trainer)]
    assert shown[0].shape == (4, size, size, 3)
    np.testing.assert_allclose(shown[1], shown[0], rtol=0, atol=1e-7)
