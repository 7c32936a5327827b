"""The seed documents' systems: their networks, their initial weights, and what is particular about each."""

from dataclasses import replace

import pytest

from common.config import TrainConfig
from common.data.initial_weights import initial_weights
from common.networks import families
from common.networks.build import architecture_of, build_architecture, count_parameters
from common.networks.layers import BatchNorm, Conv, ConvTranspose, LayerSpec, Linear
from common.networks.presets import PRESETS, Preset
from common.options import RunOptions, parse
from comparison.publish.systems_tables import architecture_of_preset

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
    mine = Preset(families.dcgan28, 8, TrainConfig(preset="mine", image_size=28, batch_size=16), "mine")
    monkeypatch.setitem(PRESETS, "mine", mine)
    options = parse(RunOptions, ["--preset", "mine", "--epochs", "3"], program="")
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


def test_normal_initial_weights_of_a_fully_connected_layer_have_the_paper_s_deviation():
    config = PRESETS["seed004-mlp"].recipe
    weights = initial_weights(config, build_architecture(config))
    assert weights["generator.layers.2.weight"].std() == pytest.approx(0.02, rel=0.01)
    assert not weights["generator.layers.2.bias"].any()
