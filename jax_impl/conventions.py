"""Flax modules brought to the conventions that both twins are pinned to, torch's (docs/decisions/0007). No twin."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array


class BatchNorm(nnx.BatchNorm):
    """Flax's BatchNorm with torch's running variance: the unbiased one, n / (n - 1) times the batch's."""

    def __call__(self, x: Array, use_running_average: bool | None = None, **kwargs: Array | None) -> Array:
        old_variance = self.var[...]
        outputs = super().__call__(x, use_running_average=use_running_average, **kwargs)
        if not self.use_running_average:
            count = x.size // x.shape[-1]
            # Of the new variance, momentum * old is the past's share; the rest is the batch's biased variance.
            new_share = self.var[...] - self.momentum * old_variance
            self.var[...] = self.var[...] + jax.lax.stop_gradient(new_share) / (count - 1)
        return outputs


class LeakyReLU(nnx.Module):
    """As torch's: the derivative at exactly 0 is the slope, where `jax.nn.leaky_relu` has 1."""

    def __init__(self, negative_slope: float) -> None:
        self.negative_slope = negative_slope

    def __call__(self, inputs: Array) -> Array:
        return jnp.where(inputs > 0, inputs, self.negative_slope * inputs)
