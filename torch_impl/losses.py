"""The two losses, on logits, averaged over the batch. Mirrors jax_impl/losses.py."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_impl.model import Discriminator


class DiscriminatorLoss(NamedTuple):
    """The loss (a scalar) and the logits (N,) it was taken from."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor


def discriminator_loss(
    discriminator: Discriminator,
    real_images: Tensor,
    fake_images: Tensor,
    *,
    real_target: float,
    fake_target: float,
) -> DiscriminatorLoss:
    """Goodfellow et al. 2014, equation 1. Real images go first: BatchNorm's statistics see them first."""
    real_logits = discriminator(real_images)
    fake_logits = discriminator(fake_images)
    loss = binary_cross_entropy(real_logits, real_target) + binary_cross_entropy(fake_logits, fake_target)
    return DiscriminatorLoss(loss, real_logits, fake_logits)


def generator_loss(fake_images: Tensor, discriminator: Discriminator, *, target: float) -> Tensor:
    """-log D(G(z)), the non-saturating form (Goodfellow et al. 2014, section 3), when the target is 1."""
    return binary_cross_entropy(discriminator(fake_images), target)


def binary_cross_entropy(logits: Tensor, target: float) -> Tensor:
    """Mean over the batch, in at least float32 whatever the networks compute in."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
