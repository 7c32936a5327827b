"""One Flax NNX module for each layer spec, in the variant's form. Mirrors torch_impl/layers.py.

What `idiomatic` and `tuned` mean: docs/decisions/0015-idiomatic-and-tuned.md.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from common.config import TrainConfig
from common.networks import layers as specs
from jax_impl.chunks import steps_of
from jax_impl.conventions import BatchNorm, LeakyReLU
from jax_impl.tuned.layers import TunedBatchNorm, TunedConv, TunedConvTranspose
from jax_impl.tuned.steps import FlatChunks, FlatSteps, compiler_options

Layer = Callable[[Array], Array]


class Form(NamedTuple):
    """All that a variant and its form of execution decide: the other files of this twin see only this."""

    conv: Callable[..., nnx.Conv]
    conv_transpose: Callable[..., nnx.ConvTranspose]
    batch_norm: Callable[..., BatchNorm]
    # From a step and the modules it updates to a function that runs one step for each row of a chunk.
    prepare_steps: Callable[[Callable[..., Array], tuple[Any, ...]], Callable[..., Array]]
    dtypes: dict[str, Any]  # of the arithmetic (`dtype`) and of what is stored (`param_dtype`), as Flax calls them


def select(config: TrainConfig, platform: str, execution: str = "step") -> Form:
    """The form of `config.variant`: Flax's own classes and a step under `nnx.jit`, or the ones of jax_impl/tuned.

    What is taught is a call for each step: `execution` is of the tuned variant.
    """
    stored = jnp.float64 if config.precision == "float64" else jnp.float32
    dtypes = {"dtype": jnp.bfloat16 if config.precision == "bfloat16" else stored, "param_dtype": stored}
    if config.variant == "idiomatic":
        return Form(nnx.Conv, nnx.ConvTranspose, BatchNorm, _jit_steps, dtypes)
    return Form(
        partial(TunedConv, platform=platform),
        partial(TunedConvTranspose, platform=platform),
        partial(TunedBatchNorm, platform=platform),
        partial(
            FlatChunks if execution == "chunk" else FlatSteps,
            compiler_options=compiler_options(platform, config.precision),
        ),
        dtypes,
    )


def build_layers(network: tuple[specs.LayerSpec, ...], form: Form, *, rngs: nnx.Rngs) -> list[Layer]:
    """The modules of one network; a bias that BatchNorm follows keeps its initial value.

    BatchNorm subtracts the mean, and the bias with it: the bias's gradient is 0, and what floating point makes of it
    is rounding, of which Adam, dividing a gradient by its own size, would make whole steps.
    """
    layers: list[Any] = [build_layer(spec, form, rngs=rngs) for spec in network]
    for layer, following in pairwise(layers):
        if isinstance(following, BatchNorm) and isinstance(bias := getattr(layer, "bias", None), nnx.Param):
            layer.bias = Constant(bias[...])
    return layers


def build_layer(spec: specs.LayerSpec, form: Form, *, rngs: nnx.Rngs) -> Layer:
    """The module of one spec, its weights still Flax's own: `load_weights` replaces them."""
    match spec:
        case specs.Conv():
            return form.conv(
                spec.in_channels,
                spec.out_channels,
                (spec.kernel_size, spec.kernel_size),
                strides=spec.stride,
                padding=[(spec.padding, spec.padding)] * 2,
                use_bias=spec.bias,
                **form.dtypes,
                rngs=rngs,
            )
        case specs.ConvTranspose():
            # Flax pads the dilated input; torch's padding is what is cut from the output.
            border = spec.kernel_size - 1 - spec.padding
            return form.conv_transpose(
                spec.in_channels,
                spec.out_channels,
                (spec.kernel_size, spec.kernel_size),
                strides=spec.stride,
                padding=[(border, border)] * 2,
                use_bias=spec.bias,
                transpose_kernel=True,
                **form.dtypes,
                rngs=rngs,
            )
        case specs.Linear():
            return Linear(spec, **form.dtypes, rngs=rngs)
        case specs.BatchNorm():
            return form.batch_norm(
                spec.num_features,
                momentum=1 - spec.momentum,  # Flax weighs the old statistics, torch the new batch
                epsilon=spec.epsilon,
                use_fast_variance=False,
                **form.dtypes,
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

    def __init__(self, spec: specs.Linear, **options: Any) -> None:
        super().__init__(spec.in_features, spec.out_features, use_bias=spec.bias, **options)
        self.out_shape = (spec.out_size, spec.out_size, spec.out_channels)

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        outputs = super().__call__(inputs.reshape(len(inputs), -1), out_sharding)
        return outputs.reshape(-1, *self.out_shape)


def _jit_steps(step: Callable[..., Array], modules: tuple[Any, ...]) -> Callable[..., Array]:
    """The step under `nnx.jit`, which takes the modules apart and puts them together around every call."""
    compiled = nnx.jit(step)
    return lambda images, *chunk: jnp.stack([compiled(*modules, *data) for data in steps_of(images, *chunk)], axis=1)
