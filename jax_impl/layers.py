"""One Flax NNX module for each layer spec. Mirrors torch_impl/layers.py."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from common.networks import layers as specs
from jax_impl.conventions import BatchNorm, LeakyReLU
from jax_impl.tuned.layers import TunedBatchNorm, TunedConv, held_dtype

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


class Constant(nnx.Param):
    """A parameter like the others, but for its gradient, which is 0."""

    def get_value(self, **kwargs: Any) -> Any:
        return jax.lax.stop_gradient(super().get_value(**kwargs))


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
