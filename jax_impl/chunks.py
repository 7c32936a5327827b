"""What each step of a chunk is given, taken from what lies on the device. Mirrors torch_impl/chunks.py."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def steps_of(images: Array, indices: Array, latents: Array, decays: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Of each step its images (B, S, S[, 3]), uint8, its latents (L, B, Z), and the decay of the average, a scalar."""
    # Iterating over an array compiles one slice for each of its elements; this compiles one for all.
    for step in range(len(indices)):
        yield step_of(images, indices, latents, decays, step)


@jax.jit
def step_of(
    images: Array, indices: Array, latents: Array, decays: Array, step: ArrayLike
) -> tuple[Array, Array, Array]:
    """What one step of the chunk is given; `images` are all that there are to train on."""
    return images_at(images, indices[step]), latents[step], decays[step]


def images_at(images: Array, indices: Array) -> Array:
    """A batch of them."""
    return jnp.take(images, indices, axis=0, mode="clip")  # other modes look whether an index is one
