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
        "eager in NCHW; one `backward()` each for real and generated images; sigmoid and `BCELoss`; resizes and "
        "converts every image every epoch; reads five numbers a step. Its own networks are twice as wide, for 64 px",
        "pytorch_examples",
    ),
    "flax": Arm(
        "Flax's documented form",
        "jax",
        "dcgan32",
        "torch",
        "`nnx.ConvTranspose`, one step under `nnx.jit`, the generator run once for each loss; normalises every batch. "
        "Flax documents no GAN: its MNIST tutorial's step, done for both networks",
        "flax_nnx",
    ),
    "pytorch-gan": Arm(
        "PyTorch-GAN",
        "torch",
        "its own, 32 px",
        "torch",
        "its networks enlarge maps before 3x3 convolutions: 13 times the arithmetic of `dcgan32` for an image through "
        "both. Eager in NCHW; dropout; loader as above; reads two losses a step",
        "pytorch_gan",
    ),
    "torch-seed004": _ours("torch", "seed004", ours="torch-seed004"),
    "jax-seed004": _ours("jax", "seed004", ours="torch-seed004"),
    "seed004": Arm(
        "seed 004",
        "torch",
        "seed004",
        "torch-seed004",
        "eager in NCHW; sigmoid and `BCELoss`; converts every image every epoch; reads two losses a step",
        "seed004",
    ),
}
