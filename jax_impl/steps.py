"""One training step: the algorithm. Mirrors torch_impl/steps.py.

There is no `update` here: gradients are values, of the network that was asked for, and the optimizer takes them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import nnx
from jax import Array

from common.config import TrainConfig
from jax_impl.losses import DiscriminatorLoss, discriminator_loss, generator_loss
from jax_impl.model import Discriminator, Generator


class StepTensors(NamedTuple):
    """What one step measures, scalars still on the device: `common.contract.StepMetrics` for K = 1."""

    discriminator_loss: Array
    generator_loss: Array
    real_score: Array
    fake_score: Array


def train_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: nnx.Optimizer,
    discriminator_optimizer: nnx.Optimizer,
    real_images: Array,  # (B, S, S, C) in [-1, 1]
    latents: Array,  # (L, B, Z)
    config: TrainConfig,
) -> StepTensors:
    """Update the discriminator once, then the generator `config.generator_updates` times."""
    fake_images, backpropagate = generate(generator, latents[0])

    def judge(discriminator: Discriminator) -> tuple[Array, DiscriminatorLoss]:
        judged = discriminator_loss(
            discriminator,
            real_images,
            fake_images,
            real_target=config.real_target,
            fake_target=config.fake_target,
        )
        return judged.loss, judged

    (_, judged), gradients = nnx.value_and_grad(judge, has_aux=True)(discriminator)
    discriminator_optimizer.update(discriminator, gradients)

    def fool(fake_images: Array, discriminator: Discriminator) -> Array:
        return generator_loss(fake_images, discriminator, target=config.generator_target)

    fresh_latents = iter(latents[1:])
    generator_losses = []
    for index in range(config.generator_updates):
        if index > 0 or config.generator_latents == "fresh":
            fake_images, backpropagate = generate(generator, next(fresh_latents))
        loss, image_gradients = nnx.value_and_grad(fool)(fake_images, discriminator)
        generator_losses.append(loss)
        generator_optimizer.update(generator, backpropagate(image_gradients))

    return StepTensors(
        discriminator_loss=judged.loss,
        generator_loss=generator_losses[-1],
        real_score=jax.nn.sigmoid(judged.real_logits).mean(),
        fake_score=jax.nn.sigmoid(judged.fake_logits).mean(),
    )


def generate(generator: Generator, latents: Array) -> tuple[Array, Callable[[Array], Generator]]:
    """Images, and the map from their gradients to the generator's: its forward pass is run once and shared."""
    images, pull_back, *_ = nnx.vjp(lambda network, inputs: network(inputs), generator, latents, graph=False)
    return images, lambda image_gradients: pull_back(image_gradients)[0]
