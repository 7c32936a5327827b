"""One training step: the algorithm. Mirrors jax_impl/steps.py.

There is no `generate` here: the tape remembers the generator's forward pass, which both losses share.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.optim import Adam

from common.config import TrainConfig
from torch_impl.losses import discriminator_loss, generator_loss
from torch_impl.model import Discriminator, Generator


class StepTensors(NamedTuple):
    """What one step measures, scalars still on the device: `common.contract.StepMetrics` for K = 1."""

    discriminator_loss: Tensor
    generator_loss: Tensor
    real_score: Tensor
    fake_score: Tensor


def train_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: Adam,
    discriminator_optimizer: Adam,
    real_images: Tensor,  # (B, C, S, S) in [-1, 1]
    latents: Tensor,  # (L, B, Z)
    config: TrainConfig,
) -> StepTensors:
    """Update the discriminator once, then the generator `config.generator_updates` times."""
    fake_images = generator(latents[0])

    judged = discriminator_loss(
        discriminator,
        real_images,
        fake_images.detach(),
        real_target=config.real_target,
        fake_target=config.fake_target,
    )
    update(discriminator, discriminator_optimizer, judged.loss, variant=config.variant)

    fresh_latents = iter(latents[1:])
    generator_losses = []
    for index in range(config.generator_updates):
        if index > 0 or config.generator_latents == "fresh":
            fake_images = generator(next(fresh_latents))
        generator_losses.append(generator_loss(fake_images, discriminator, target=config.generator_target))
        update(generator, generator_optimizer, generator_losses[-1], variant=config.variant)

    return StepTensors(
        discriminator_loss=judged.loss.detach(),
        generator_loss=generator_losses[-1].detach(),
        real_score=judged.real_logits.detach().sigmoid().mean(),
        fake_score=judged.fake_logits.detach().sigmoid().mean(),
    )


def update(network: nn.Module, optimizer: Adam, loss: Tensor, *, variant: str) -> None:
    """One Adam update of `network`; tuned, the other network's gradients are not computed (JAX never does).

    The plain `backward()` of the tutorials computes the discriminator's weight gradients in the generator's update too,
    only for the next `zero_grad` to drop them.
    """
    optimizer.zero_grad()
    loss.backward(inputs=list(network.parameters()) if variant == "tuned" else None)
    optimizer.step()
