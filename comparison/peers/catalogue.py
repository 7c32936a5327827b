"""What is timed side by side: steps as others write them, and ours of the same networks."""

from typing import NamedTuple

from common.records.folder import FRAMEWORK_NAMES

BATCH_SIZE = 64


class Arm(NamedTuple):
    """One step; `ours` names our PyTorch arm that it is held against, `differs` what is not as there."""

    title: str
    framework: str
    networks: str
    ours: str
    differs: str = ""
    module: str = ""  # in comparison.peers; ours have none, and are the preset named `networks`


def _ours(framework: str, preset: str, *, ours: str) -> Arm:
    return Arm(f"ours, {FRAMEWORK_NAMES[framework]}, tuned", framework, preset, ours)


ARMS = {
    "torch": _ours("torch", "dcgan32", ours="torch"),
    "jax": _ours("jax", "dcgan32", ours="torch"),
    "examples": Arm(
        "pytorch/examples",
        "torch",
        "dcgan32",
        "torch",
        "it runs eagerly in NCHW, PyTorch's default memory format. Real and generated images have a `backward()` each. "
        "The loss is a sigmoid and `BCELoss`. Every image is resized and converted every epoch. Five numbers are read "
        "a step. Its own networks are twice as wide, for 64 px",
        "pytorch_examples",
    ),
    "flax": Arm(
        "Flax's documented form",
        "jax",
        "dcgan32",
        "torch",
        "it uses `nnx.ConvTranspose`, and one step under `nnx.jit`. The generator runs once for each loss. Every batch "
        "is normalised anew. Flax documents no GAN, so this is its MNIST tutorial's step, done for both networks",
        "flax_nnx",
    ),
    "pytorch-gan": Arm(
        "PyTorch-GAN",
        "torch",
        "its own, 32 px",
        "torch",
        "its networks enlarge maps before 3x3 convolutions. An image through both takes 13 times the arithmetic of "
        "`dcgan32`. It runs eagerly in NCHW, with dropout. Every image is resized and converted every epoch. Two "
        "losses are read a step",
        "pytorch_gan",
    ),
    "torch-seed004": _ours("torch", "seed004", ours="torch-seed004"),
    "jax-seed004": _ours("jax", "seed004", ours="torch-seed004"),
    "seed004": Arm(
        "seed 004",
        "torch",
        "seed004",
        "torch-seed004",
        "it runs eagerly in NCHW. The loss is a sigmoid and `BCELoss`. Every image is converted every epoch. Two "
        "losses are read a step",
        "seed004",
    ),
}
