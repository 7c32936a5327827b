"""The layers in their fastest known form. Mirrors torch_impl/tuned/layers.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from common.networks import layers as specs
from jax_impl.conventions import BatchNorm
from jax_impl.tuned import convolution
from jax_impl.tuned.normalization import normalize


def held_dtype(dtype: DTypeLike, param_dtype: DTypeLike) -> DTypeLike:
    """What convolutions and BatchNorm hand on: on a CPU not bfloat16, for which XLA converts around every operation."""
    return param_dtype if jax.default_backend() == "cpu" else dtype


class TunedConv(nnx.Module):
    """A convolution or a transposed one with the gradients of `jax_impl/tuned/convolution.py`.

    Its kernel is (K, K, large image's channels, small image's channels), which is Flax's own layout for both kinds
    (`transpose_kernel=True`), so both variants load the same arrays.
    """

    def __init__(self, spec: specs.Conv | specs.ConvTranspose, *, dtype: DTypeLike, param_dtype: DTypeLike) -> None:
        self.spec = spec
        self.dtype = dtype
        transposed = isinstance(spec, specs.ConvTranspose)
        self.operation = convolution.up if transposed else convolution.down
        channels = (spec.in_channels, spec.out_channels)
        shape = (spec.kernel_size, spec.kernel_size, *(reversed(channels) if transposed else channels))
        self.kernel = nnx.Param(jnp.zeros(shape, param_dtype))
        self.bias = nnx.Param(jnp.zeros(spec.out_channels, param_dtype)) if spec.bias else None

    def __call__(self, images: Array) -> Array:
        kernel = self.kernel[...]
        images = images.astype(kernel.dtype)
        outputs = self.operation(images, kernel, self.spec.stride, self.spec.padding, self.dtype)
        outputs = outputs if self.bias is None else outputs + self.bias[...][None, None, None]
        return outputs.astype(held_dtype(self.dtype, kernel.dtype))


class TunedBatchNorm(BatchNorm):
    """The same with the gradient of `jax_impl/tuned/normalization.py`."""

    def __call__(self, x: Array, use_running_average: bool | None = None, **kwargs: Array | None) -> Array:
        if self.use_running_average:
            return super().__call__(x, use_running_average=use_running_average, **kwargs)
        assert self.scale is not None
        assert self.bias is not None
        images, mean, variance = normalize(x.astype(self.dtype), self.scale[...], self.bias[...], self.epsilon)
        count = x.size // x.shape[-1]
        self.mean[...] = jax.lax.stop_gradient(self.momentum * self.mean[...] + (1 - self.momentum) * mean)
        unbiased = variance * (count / (count - 1))
        self.var[...] = jax.lax.stop_gradient(self.momentum * self.var[...] + (1 - self.momentum) * unbiased)
        return images
