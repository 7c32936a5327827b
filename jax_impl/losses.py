"""The two losses, on logits, averaged over the batch. Mirrors torch_impl/losses.py."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jax_impl.model import Discriminator


class DiscriminatorLoss(NamedTuple):
    """The loss (a scalar) and the logits (N,) it was taken from."""

    loss: Array
    real_logits: Array
    fake_logits: Array


def discriminator_loss(
    discriminator: Discriminator,
    real_images: Array,
    fake_images: Array,
    *,
    real_target: float,
    fake_target: float,
) -> DiscriminatorLoss:
    """Goodfellow et al. 2014, equation 1. Real images go first: BatchNorm's statistics see them first."""
    real_logits = discriminator(real_images)
    fake_logits = discriminator(fake_images)
    loss = binary_cross_entropy(real_logits, real_target) + binary_cross_entropy(fake_logits, fake_target)
    return DiscriminatorLoss(loss, real_logits, fake_logits)


def generator_loss(fake_images: Array, discriminator: Discriminator, *, target: float) -> Array:
    """-log D(G(z)), the non-saturating form (Goodfellow et al. 2014, section 3), when the target is 1."""
    return binary_cross_entropy(discriminator(fake_images), target)


def binary_cross_entropy(logits: Array, target: float) -> Array:
    """Mean over the batch, in at least float32 whatever the networks compute in."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)).mean()
