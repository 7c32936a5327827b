"""The presets: which network, how wide, and the recipe that trains it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from common.config import TrainConfig
from common.networks import families
from common.networks.layers import Architecture

# Preset -> (family, width); a test builds every preset at an eighth of its width.
FAMILIES: dict[str, tuple[Callable[..., Architecture], int]] = {
    "dcgan32": (families.dcgan32, 32),
    "dcgan32-wide": (families.dcgan32, 64),
    "dcgan28": (families.dcgan28, 64),
    "smoke": (families.dcgan32, 16),
    "seed000": (families.paper64, 64),
    "seed001": (families.three_layers32, 64),
    "seed001-no-batchnorm": (partial(families.three_layers32, batch_norm=False), 64),
    "seed002": (families.paper64, 128),
    "seed003": (families.cropped28, 64),
    "seed004": (families.native28, 64),
    "seed004-smoothing": (families.native28, 64),
    "seed004-ttur": (families.native28, 64),
    "seed004-mlp": (families.mlp28, 256),
    "seed004-mlp-ttur": (families.mlp28, 256),
    "paper64-rgb": (families.paper64, 128),
}
# Seed document 004 draws fresh latents for every generator update, and shows its DCGAN's 16th epoch. From PyTorch's own
# initial weights, which its code has, seed 0 stalls for as long as it was followed (docs/systems.md): the paper's are
# taken.
SEED004 = TrainConfig(preset="seed004", image_size=28, epochs=16, generator_latents="fresh")
PRESETS: dict[str, TrainConfig] = {
    "dcgan32": TrainConfig(),
    # Half as many steps an epoch, and trained for longer: a longer memory (docs/decisions/0005).
    "dcgan32-wide": TrainConfig(  # docs/decisions/0012-learning-rate-of-large-batches.md
        preset="dcgan32-wide",
        batch_size=128,
        learning_rate_generator=4e-4,
        learning_rate_discriminator=4e-4,
        generator_average=0.999,
    ),
    "dcgan28": TrainConfig(preset="dcgan28", image_size=28, batch_size=128),
    "smoke": TrainConfig(preset="smoke", batch_size=32, train_size=2048, epochs=1),
    "seed000": TrainConfig(preset="seed000", image_size=64, batch_size=128),
    "seed001": TrainConfig(preset="seed001", epochs=50, initialization="uniform"),
    "seed001-no-batchnorm": TrainConfig(preset="seed001-no-batchnorm", epochs=50, initialization="uniform"),
    "seed002": TrainConfig(preset="seed002", image_size=64, batch_size=128, real_target=0.9, fake_target=0.1),
    "seed003": TrainConfig(preset="seed003", image_size=28, batch_size=128),
    "seed004": SEED004,
    "seed004-smoothing": replace(SEED004, preset="seed004-smoothing", real_target=0.9, generator_target=0.9),
    "seed004-ttur": replace(SEED004, preset="seed004-ttur", learning_rate_discriminator=1e-4, generator_updates=2),
    "seed004-mlp": replace(SEED004, preset="seed004-mlp", epochs=24),
    "seed004-mlp-ttur": replace(
        SEED004,
        preset="seed004-mlp-ttur",
        batch_size=128,
        latent_dim=256,
        learning_rate_discriminator=1e-4,
        generator_updates=2,
        real_target=0.9,
        generator_target=0.9,
    ),
    "paper64-rgb": TrainConfig(preset="paper64-rgb", dataset="cifar10", image_size=64, batch_size=128),
}
