"""One training step: the algorithm. Mirrors torch_impl/steps.py.

There is no `update` here: gradients are values, of the network that was asked for, and the optimizer takes them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import nnx
from jax import Array

from common.config import TrainConfig
from jax_impl import losses
from jax_impl.losses import DiscriminatorLoss
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
    generator_average: Generator,
    generator_optimizer: nnx.Optimizer,
    discriminator_optimizer: nnx.Optimizer,
    real_images: Array,  # (B, S, S, C) in [-1, 1]
    latents: Array,  # (L, B, Z)
    decay: Array,  # of the average, a scalar
    config: TrainConfig,
) -> StepTensors:
    """Update the discriminator once, then the generator `config.generator_updates` times, and its average."""
    fake_images, backpropagate = generate(generator, latents[0])

    # Both losses take the discriminator as an argument that hides the one outside: its BatchNorms update their running
    # statistics, and a function that is differentiated may update only what it is given (else TraceContextError).
    def discriminator_loss_of(discriminator: Discriminator) -> tuple[Array, DiscriminatorLoss]:
        discriminator_loss = losses.discriminator_loss(
            discriminator,
            real_images,
            fake_images,
            real_target=config.real_target,
            fake_target=config.fake_target,
        )
        return discriminator_loss.loss, discriminator_loss

    (_, discriminator_loss), gradients = nnx.value_and_grad(discriminator_loss_of, has_aux=True)(discriminator)
    discriminator_optimizer.update(discriminator, gradients)

    def generator_loss_of(fake_images: Array, discriminator: Discriminator) -> Array:
        return losses.generator_loss(fake_images, discriminator, target=config.generator_target)

    fresh_latents = iter(latents[1:])
    generator_losses = []
    for index in range(config.generator_updates):
        if index > 0 or config.generator_latents == "fresh":
            fake_images, backpropagate = generate(generator, next(fresh_latents))
        generator_loss, image_gradients = nnx.value_and_grad(generator_loss_of)(fake_images, discriminator)
        generator_optimizer.update(generator, backpropagate(image_gradients))
        generator_losses.append(generator_loss)
    update_average(generator_average, generator, decay)

    return StepTensors(
        discriminator_loss=discriminator_loss.loss,
        generator_loss=generator_losses[-1],
        real_score=jax.nn.sigmoid(discriminator_loss.real_logits).mean(),
        fake_score=jax.nn.sigmoid(discriminator_loss.fake_logits).mean(),
    )


def generate(generator: Generator, latents: Array) -> tuple[Array, Callable[[Array], Generator]]:
    """Images, and the map from their gradients to the generator's: its forward pass is run once and shared."""
    # Both losses need these images, and the generator's gradients come later, through the updated discriminator. So the
    # chain rule is taken in two pieces: nnx.vjp runs the forward pass and keeps what `pull_back` needs to multiply
    # gradients of the images by the generator's Jacobian. `graph=False` takes the module for a tree of arrays, as which
    # the gradients come back too (nnx.vjp has no other mode that updates running statistics).
    images, pull_back, *_ = nnx.vjp(lambda network, inputs: network(inputs), generator, latents, graph=False)
    return images, lambda image_gradients: pull_back(image_gradients)[0]


def update_average(generator_average: Generator, generator: Generator, decay: Array) -> None:
    """Exponential moving average of weights and running statistics (Yazici et al. 2019), which nothing trains on."""
    averaged, latest = (nnx.state(network) for network in (generator_average, generator))
    nnx.update(generator_average, jax.tree.map(lambda old, new: old * decay + new * (1 - decay), averaged, latest))
