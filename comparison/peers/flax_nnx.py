"""A step as Flax's documentation teaches one (NNX basics, MNIST tutorial), in our words, at the sizes of dcgan32.

`nnx.Module`s of Flax's own layers and conventions, one step under `nnx.jit`, `nnx.value_and_grad` of each network's
loss, so that the generator runs twice, and `nnx.Optimizer`. Losses are read when the block ends. Flax documents no GAN:
what it teaches of a classifier's step is done for each of the two networks.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from common.data.datasets import fit_images

NUM_LATENTS, NUM_FEATURES = 100, 32


class Generator(nnx.Module):
    """Latents (N, 1, 1, 100) to images (N, 32, 32, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        z, f = NUM_LATENTS, NUM_FEATURES
        self.convolution_1 = nnx.ConvTranspose(z, 4 * f, (4, 4), padding="VALID", use_bias=False, rngs=rngs)
        self.convolution_2 = nnx.ConvTranspose(4 * f, 2 * f, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.convolution_3 = nnx.ConvTranspose(2 * f, f, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.convolution_4 = nnx.ConvTranspose(f, 1, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.norm_1 = nnx.BatchNorm(4 * f, rngs=rngs)
        self.norm_2 = nnx.BatchNorm(2 * f, rngs=rngs)
        self.norm_3 = nnx.BatchNorm(f, rngs=rngs)

    def __call__(self, latents: Array) -> Array:
        x = nnx.relu(self.norm_1(self.convolution_1(latents)))
        x = nnx.relu(self.norm_2(self.convolution_2(x)))
        x = nnx.relu(self.norm_3(self.convolution_3(x)))
        return nnx.tanh(self.convolution_4(x))


class Discriminator(nnx.Module):
    """Images (N, 32, 32, 1) to one logit each, (N,)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        f = NUM_FEATURES
        self.convolution_1 = nnx.Conv(1, f, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.convolution_2 = nnx.Conv(f, 2 * f, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.convolution_3 = nnx.Conv(2 * f, 4 * f, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.convolution_4 = nnx.Conv(4 * f, 1, (4, 4), padding="VALID", use_bias=False, rngs=rngs)
        self.norm_2 = nnx.BatchNorm(2 * f, rngs=rngs)
        self.norm_3 = nnx.BatchNorm(4 * f, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = nnx.leaky_relu(self.convolution_1(images), 0.2)
        x = nnx.leaky_relu(self.norm_2(self.convolution_2(x)), 0.2)
        x = nnx.leaky_relu(self.norm_3(self.convolution_3(x)), 0.2)
        return self.convolution_4(x).reshape(-1)


def steps(images: np.ndarray, *, batch_size: int) -> Iterator[tuple[Array, Array]]:
    """Train on uint8 images (N, 28, 28), a step at a time: the discriminator's loss, the generator's."""
    rngs = nnx.Rngs(0)
    generator, discriminator = Generator(rngs=rngs), Discriminator(rngs=rngs)
    generator_optimizer = nnx.Optimizer(generator, optax.adam(2e-4, b1=0.5), wrt=nnx.Param)
    discriminator_optimizer = nnx.Optimizer(discriminator, optax.adam(2e-4, b1=0.5), wrt=nnx.Param)
    for real_images in endless_batches(images, batch_size=batch_size):
        yield train_step(
            generator, discriminator, generator_optimizer, discriminator_optimizer, rngs, jnp.asarray(real_images)
        )


@nnx.jit
def train_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: nnx.Optimizer,
    discriminator_optimizer: nnx.Optimizer,
    rngs: nnx.Rngs,
    real_images: Array,  # (B, 32, 32, 1) in [-1, 1]
) -> tuple[Array, Array]:
    """Update the discriminator, then the generator; returns both losses."""
    latents = jax.random.normal(rngs.latents(), (len(real_images), 1, 1, NUM_LATENTS))
    fake_images = generator(latents)

    def discriminator_loss_of(discriminator: Discriminator) -> Array:
        real_logits, fake_logits = discriminator(real_images), discriminator(fake_images)
        return cross_entropy(real_logits, 1.0) + cross_entropy(fake_logits, 0.0)

    discriminator_loss, gradients = nnx.value_and_grad(discriminator_loss_of)(discriminator)
    discriminator_optimizer.update(discriminator, gradients)

    # A function that is differentiated may update only what it is given: the discriminator's statistics too.
    def generator_loss_of(generator: Generator, discriminator: Discriminator) -> Array:
        return cross_entropy(discriminator(generator(latents)), 1.0)

    generator_loss, gradients = nnx.value_and_grad(generator_loss_of)(generator, discriminator)
    generator_optimizer.update(generator, gradients)
    return discriminator_loss, generator_loss


def cross_entropy(logits: Array, target: float) -> Array:
    """Mean over the batch."""
    return optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)).mean()


def endless_batches(images: np.ndarray, *, batch_size: int) -> Iterator[np.ndarray]:
    """Shuffled batches (B, 32, 32, 1) in [-1, 1], as `tfds.as_numpy` would hand them; resized once, normalised each."""
    images = fit_images(images, 32)
    random = np.random.default_rng(0)
    while True:
        order = random.permutation(len(images))
        for start in range(0, len(images) - batch_size + 1, batch_size):
            yield images[order[start : start + batch_size], :, :, None].astype(np.float32) / 127.5 - 1
