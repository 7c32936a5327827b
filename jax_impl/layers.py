"""One Flax NNX module for each layer spec. Mirrors torch_impl/layers.py."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from common import layers as specs
from jax_impl import convolution
from jax_impl.normalization import normalize

Layer = Callable[[Array], Array]


def build_layers(
    network: tuple[specs.LayerSpec, ...], *, variant: str, dtype: DTypeLike, param_dtype: DTypeLike
) -> list[Layer]:
    """The modules of one network; a bias that BatchNorm follows keeps its initial value.

    BatchNorm subtracts the mean, and the bias with it: the bias's gradient is 0, and what floating point makes of it
    is rounding, of which Adam, dividing a gradient by its own size, would make whole steps.
    """
    layers: list[Any] = [build_layer(spec, variant=variant, dtype=dtype, param_dtype=param_dtype) for spec in network]
    for layer, following in pairwise(layers):
        if isinstance(following, BatchNorm) and isinstance(bias := getattr(layer, "bias", None), nnx.Param):
            layer.bias = Constant(bias[...])
    return layers


def build_layer(spec: specs.LayerSpec, *, variant: str, dtype: DTypeLike, param_dtype: DTypeLike) -> Layer:
    """The module of one spec, its weights still Flax's own: `load_weights` replaces them."""
    rngs = nnx.Rngs(0)
    match spec:
        case specs.Conv() | specs.ConvTranspose() if variant == "tuned":
            return TunedConv(spec, dtype=dtype, param_dtype=param_dtype)
        case specs.Conv():
            return nnx.Conv(
                spec.in_channels,
                spec.out_channels,
                (spec.kernel_size, spec.kernel_size),
                strides=spec.stride,
                padding=[(spec.padding, spec.padding)] * 2,
                use_bias=spec.bias,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
        case specs.ConvTranspose():
            # Flax pads the dilated input; torch's padding is what is cut from the output.
            border = spec.kernel_size - 1 - spec.padding
            return nnx.ConvTranspose(
                spec.in_channels,
                spec.out_channels,
                (spec.kernel_size, spec.kernel_size),
                strides=spec.stride,
                padding=[(border, border)] * 2,
                use_bias=spec.bias,
                transpose_kernel=True,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
        case specs.Linear():
            return Linear(spec, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        case specs.BatchNorm():
            batch_norm = TunedBatchNorm if variant == "tuned" else BatchNorm
            return batch_norm(
                spec.num_features,
                momentum=1 - spec.momentum,  # Flax weighs the old statistics, torch the new batch
                epsilon=spec.epsilon,
                use_fast_variance=False,
                dtype=held_dtype(dtype, param_dtype) if variant == "tuned" else dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
        case specs.LeakyReLU():
            return LeakyReLU(spec.negative_slope)
        case specs.ReLU():
            return jax.nn.relu
        case specs.Tanh():
            return jnp.tanh


def held_dtype(dtype: DTypeLike, param_dtype: DTypeLike) -> DTypeLike:
    """What convolutions and BatchNorm hand on: on a CPU not bfloat16, for which XLA converts around every operation."""
    return param_dtype if jax.default_backend() == "cpu" else dtype


class Constant(nnx.Param):
    """A parameter like the others, but for its gradient, which is 0."""

    def get_value(self, **kwargs: Any) -> Any:
        return jax.lax.stop_gradient(super().get_value(**kwargs))


class TunedConv(nnx.Module):
    """A convolution or a transposed one with the gradients of `jax_impl/convolution.py`.

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


class Linear(nnx.Linear):
    """`nnx.Linear` from one image (N, S, S, C) to another; flattened, the channels come last (see weights.py)."""

    def __init__(self, spec: specs.Linear, *, dtype: DTypeLike, param_dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        super().__init__(
            spec.in_features, spec.out_features, use_bias=spec.bias, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        self.out_shape = (spec.out_size, spec.out_size, spec.out_channels)

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        outputs = super().__call__(inputs.reshape(len(inputs), -1), out_sharding)
        return outputs.reshape(-1, *self.out_shape)


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


class TunedBatchNorm(BatchNorm):
    """The same with the gradient of `jax_impl/normalization.py`."""

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


class LeakyReLU(nnx.Module):
    """As torch's: the derivative at exactly 0 is the slope, where `jax.nn.leaky_relu` has 1."""

    def __init__(self, negative_slope: float) -> None:
        self.negative_slope = negative_slope

    def __call__(self, inputs: Array) -> Array:
        return jnp.where(inputs > 0, inputs, self.negative_slope * inputs)
