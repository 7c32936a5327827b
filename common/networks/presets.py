"""The presets: which network, how wide, and the recipe that trains it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from common.config import TrainConfig
from common.networks import families
from common.networks.layers import Networks


class Preset(NamedTuple):
    """All that a preset is: `recipe.image_size` is the size of the images that its networks make."""

    network: Callable[..., Networks]
    width: int  # channels of the narrowest hidden layer
    recipe: TrainConfig
    phrase: str  # for `--help` and `compare.py list`


# Earlier system seed004 draws fresh latents for every generator update, and shows its DCGAN's 16th epoch. It starts
# from PyTorch's own initial weights, where seed 0 stalls for as long as it was followed (docs/systems.md): here it
# starts from the paper's.
_seed004 = partial(TrainConfig, image_size=28, epochs=16, generator_latents="fresh")

PRESETS: dict[str, Preset] = {
    preset.recipe.preset: preset
    for preset in (
        Preset(families.dcgan32, 32, TrainConfig(preset="dcgan32"), "MNIST at 32 pixels: the default"),
        Preset(
            families.dcgan32,
            64,
            TrainConfig(  # docs/decisions/0012-learning-rate-of-large-batches.md
                preset="dcgan32-wide",
                batch_size=128,
                learning_rate_generator=4e-4,
                learning_rate_discriminator=4e-4,
                # Half as many steps an epoch, and trained for longer: a longer memory (docs/decisions/0005).
                generator_average=0.999,
            ),
            "the same, twice as wide",
        ),
        Preset(
            families.dcgan28,
            64,
            TrainConfig(preset="dcgan28", image_size=28, batch_size=128),
            "digits at their own 28 pixels",
        ),
        Preset(
            families.dcgan32,
            16,
            TrainConfig(preset="smoke", batch_size=32, train_size=2048, epochs=1),
            "everything works; too short for digits",
        ),
        Preset(
            families.paper64,
            64,
            TrainConfig(preset="seed000", image_size=64, batch_size=128),
            "the paper's layers at half its width",
        ),
        Preset(
            families.three_layers32,
            64,
            TrainConfig(preset="seed001", epochs=50, initialization="uniform"),
            "a Linear layer, then convolutions",
        ),
        Preset(
            partial(families.three_layers32, batch_norm=False),
            64,
            TrainConfig(preset="seed001-no-batchnorm", epochs=50, initialization="uniform"),
            "seed001 without BatchNorm",
        ),
        Preset(
            families.paper64,
            128,
            TrainConfig(preset="seed002", image_size=64, batch_size=128, real_target=0.9, fake_target=0.1),
            "the paper's layers, smoothed targets",
        ),
        Preset(
            families.cropped28,
            64,
            TrainConfig(preset="seed003", image_size=28, batch_size=128),
            "32 pixels, cropped to 28",
        ),
        Preset(
            families.native28,
            64,
            _seed004(preset="seed004"),
            "28 pixels, grown from a 7x7 map",
        ),
        Preset(
            families.native28,
            64,
            _seed004(preset="seed004-smoothing", real_target=0.9, generator_target=0.9),
            "seed004, smoothed targets",
        ),
        Preset(
            families.native28,
            64,
            _seed004(preset="seed004-ttur", learning_rate_discriminator=1e-4, generator_updates=2),
            "seed004, two generator updates a step",
        ),
        Preset(
            families.mlp28,
            256,
            _seed004(preset="seed004-mlp", epochs=24),
            "seed004's fully connected GAN",
        ),
        Preset(
            families.mlp28,
            256,
            _seed004(
                preset="seed004-mlp-ttur",
                batch_size=128,
                latent_dim=256,
                learning_rate_discriminator=1e-4,
                generator_updates=2,
                real_target=0.9,
                generator_target=0.9,
            ),
            "that GAN's second recipe",
        ),
        Preset(
            families.paper64,
            128,
            TrainConfig(preset="paper64-rgb", dataset="cifar10", image_size=64, batch_size=128),
            "the paper's networks in colour",
        ),
    )
}
