"""One training step: the algorithm. Mirrors jax_impl/steps.py.

There is no `generate` here: the tape remembers the generator's forward pass, which both losses share.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.config import TrainConfig
from torch_impl import losses
from torch_impl.model import Discriminator, Generator


class StepTensors(NamedTuple):
    """What one step measures, scalars still on the device: `common.contract.StepMetrics` for K = 1."""

    discriminator_loss: Tensor
    generator_loss: Tensor
    real_score: Tensor
    fake_score: Tensor


def update(network: nn.Module, optimizer: Adam, loss: Tensor) -> None:
    """One Adam update of `network`."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_average: Generator,
    generator_optimizer: Adam,
    discriminator_optimizer: Adam,
    real_images: Tensor,  # (B, C, S, S) in [-1, 1]
    latents: Tensor,  # (L, B, Z)
    decay: Tensor,  # of the average, a scalar
    config: TrainConfig,
    update_network: Callable[[nn.Module, Adam, Tensor], None] = update,
) -> StepTensors:
    """Update the discriminator once, then the generator `config.generator_updates` times, and its average."""
    fake_images = generator(latents[0])

    discriminator_loss = losses.discriminator_loss(
        discriminator,
        real_images,
        fake_images.detach(),
        real_target=config.real_target,
        fake_target=config.fake_target,
    )
    update_network(discriminator, discriminator_optimizer, discriminator_loss.loss)

    fresh_latents = iter(latents[1:])
    generator_losses = []
    for index in range(config.generator_updates):
        if index > 0 or config.generator_latents == "fresh":
            fake_images = generator(next(fresh_latents))
        generator_loss = losses.generator_loss(fake_images, discriminator, target=config.generator_target)
        update_network(generator, generator_optimizer, generator_loss)
        generator_losses.append(generator_loss)
    update_average(generator_average, generator, decay)

    return StepTensors(
        discriminator_loss=discriminator_loss.loss.detach(),
        generator_loss=generator_losses[-1].detach(),
        real_score=discriminator_loss.real_logits.detach().sigmoid().mean(),
        fake_score=discriminator_loss.fake_logits.detach().sigmoid().mean(),
    )


@torch.no_grad()
def update_average(generator_average: Generator, generator: Generator, decay: Tensor) -> None:
    """Exponential moving average of weights and running statistics (Yazici et al. 2019), which nothing trains on."""
    averaged, latest = (_averaged_tensors(network) for network in (generator_average, generator))
    # One kernel for all tensors each, as torch.optim.swa_utils has it, whose decay is a number of the host.
    torch._foreach_mul_(averaged, decay)  # pyright: ignore[reportPrivateImportUsage]
    added = torch._foreach_mul(latest, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_add_(averaged, added)  # pyright: ignore[reportPrivateImportUsage]


def _averaged_tensors(generator: Generator) -> list[Tensor]:
    """Its parameters and running statistics."""
    statistics = [buffer for buffer in generator.buffers() if buffer.is_floating_point()]
    return [*generator.parameters(), *statistics]
