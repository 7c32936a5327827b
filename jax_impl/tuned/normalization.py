"""Batch normalisation with its gradient written by hand; torch's own has one that is. No twin there.

Autodiff goes back through the mean and the variance one by one, and reads the images once more for each. Here two sums
over the batch are all that the gradient needs (Ioffe & Szegedy 2015, section 3). No forward-mode or second derivatives:
a custom VJP has none.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Normalized(NamedTuple):
    """Images (N, H, W, C), and the batch's mean and biased variance (C,), through which no gradient passes."""

    images: Array
    mean: Array
    variance: Array


def _normalize(images: Array, scale: Array, bias: Array, epsilon: float) -> Normalized:
    """Each channel of the images (N, H, W, C) by its own mean and variance, in at least float32; two passes."""
    wide = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    mean = wide.mean((0, 1, 2))
    centred = wide - mean[None, None, None]
    variance = jnp.square(centred).mean((0, 1, 2))
    outputs = centred * (lax.rsqrt(variance + epsilon) * scale)[None, None, None] + bias[None, None, None]
    return Normalized(outputs.astype(images.dtype), mean, variance)


Saved = tuple[Array, Array, Array, Array]


def _forward(images: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Normalized, Saved]:
    normalized = _normalize(images, scale, bias, epsilon)
    return normalized, (images, scale, normalized.mean, normalized.variance)


def _backward(epsilon: float, saved: Saved, cotangent: Normalized) -> tuple[Array, Array, Array]:
    images, scale, mean, variance = saved
    gradient = cotangent.images.astype(mean.dtype)
    centred = images.astype(mean.dtype) - mean[None, None, None]
    count = images.size // images.shape[-1]
    inverse_deviation = lax.rsqrt(variance + epsilon)
    bias_gradient = gradient.sum((0, 1, 2))
    scale_gradient = (gradient * centred).sum((0, 1, 2)) * inverse_deviation
    factor = scale * inverse_deviation
    slope = factor * inverse_deviation * scale_gradient / count
    images_gradient = (
        gradient * factor[None, None, None]
        - centred * slope[None, None, None]
        - (factor * bias_gradient / count)[None, None, None]
    )
    return images_gradient.astype(images.dtype), scale_gradient.astype(scale.dtype), bias_gradient.astype(scale.dtype)


normalize = jax.custom_vjp(_normalize, nondiff_argnums=(3,))


normalize.defvjp(_forward, _backward)
