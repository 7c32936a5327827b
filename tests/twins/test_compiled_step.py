"""What XLA makes of the training step: every convolution where it is fast, which a new jaxlib may change either way.

XLA:CPU runs a convolution with a reversed window, or in another layout than NHWC by HWIO, in an unoptimised loop nest,
60 times slower: the kernel gradient of a strided transposed convolution is one (jax#31662, jax#23783, xla#34273).
"""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx

from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from jax_impl.trainer import DCGANTrainer
from jax_impl.tuned.steps import FlatSteps
from tests.trainers import slowly

CONVOLUTION = re.compile(r"^.* convolution\(.*$", re.MULTILINE)


def compiled_step(preset: str, variant: str, precision: str = "float32") -> str:
    """The optimised HLO of one step: the preset's own images and layers, fewer channels and images a batch."""
    config = replace(PRESETS[preset].recipe, variant=variant, precision=precision, batch_size=16)
    architecture = build_architecture(config, width=32 if preset.startswith("dcgan") else 16)
    trainer = DCGANTrainer(config, architecture, jax.devices("cpu")[0])
    size = config.image_size
    images = np.zeros((config.batch_size, size, size), np.uint8)
    latents = np.zeros((config.latent_batches, config.batch_size, config.latent_dim), np.float32)
    data = images, latents, np.float32(0.5)
    if isinstance(trainer._run_steps, FlatSteps):
        leaves = jax.tree.leaves(nnx.state(trainer._modules))
        lowered = trainer._run_steps.compiled.lower(leaves, *data)
    else:
        lowered = nnx.jit(trainer._step).lower(*trainer._modules, *data)
    text = lowered.compile().as_text()
    assert text is not None
    return text


def slow_convolutions(hlo: str) -> list[str]:
    """Those in another layout than the canonical one, or with a reversed window."""
    lines = CONVOLUTION.findall(hlo)
    assert lines, "the step has no convolution at all: this test no longer sees what it should"
    return [line for line in lines if "dim_labels=b01f_01io->b01f" not in line or "rhs_reversal" in line]


@pytest.mark.parametrize("preset", ["dcgan32", *slowly("dcgan28", "seed000", "seed001", "seed003", "seed004")])
def test_every_convolution_of_the_tuned_step_is_on_the_fast_path(preset):
    assert slow_convolutions(compiled_step(preset, "tuned")) == []


def test_so_is_every_convolution_that_is_left_in_bfloat16():
    assert slow_convolutions(compiled_step("dcgan32", "tuned", "bfloat16")) == []


def test_the_idiomatic_step_still_falls_off_it():
    """When this fails, jax#31662 is mended: tell the readers, and see whether jax_impl/tuned/convolution.py can go."""
    assert slow_convolutions(compiled_step("dcgan32", "idiomatic")) != []
