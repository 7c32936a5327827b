"""The layers in their fastest known form; PyTorch's are in torch_impl/tuned/.

Each has the parameters of its Flax class and is given the platform that it computes on, `jax.Device.platform`.
"""

from typing import Any

import jax
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jax_impl.conventions import BatchNorm
from jax_impl.tuned import convolution
from jax_impl.tuned.convolution import ConvolutionForm
from jax_impl.tuned.normalization import normalize


class TunedConv(nnx.Conv):
    """With the gradients of jax_impl/tuned/convolution.py."""

    def __init__(self, *sizes: Any, platform: str, **options: Any) -> None:
        super().__init__(*sizes, kernel_init=nnx.initializers.zeros, **options)  # drawing takes longer
        self.platform = platform

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        return _convolve(self, inputs, padding=self.padding[0][0])  # pyright: ignore


class TunedConvTranspose(nnx.ConvTranspose):
    """With the gradients of jax_impl/tuned/convolution.py; its kernel is (K, K, out, in)."""

    def __init__(self, *sizes: Any, platform: str, **options: Any) -> None:
        super().__init__(*sizes, kernel_init=nnx.initializers.zeros, **options)
        self.platform = platform

    def __call__(self, inputs: Array, output_size: Any = None) -> Array:
        return _convolve(self, inputs, padding=self.kernel_size[0] - 1 - self.padding[0][0])  # pyright: ignore


class TunedBatchNorm(BatchNorm):
    """With the gradient of jax_impl/tuned/normalization.py."""

    def __init__(self, num_features: int, *, platform: str, dtype: DTypeLike, param_dtype: DTypeLike, **options: Any):
        dtype = activation_dtype(dtype, param_dtype, platform)
        super().__init__(num_features, dtype=dtype, param_dtype=param_dtype, **options)

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


def activation_dtype(dtype: DTypeLike, param_dtype: DTypeLike, platform: str) -> DTypeLike:
    """What layers hand on: on a CPU not bfloat16, for which XLA converts around every operation."""
    return param_dtype if platform == "cpu" else dtype


def _convolve(layer: TunedConv | TunedConvTranspose, inputs: Array, *, padding: int) -> Array:
    operation = convolution.down if isinstance(layer, TunedConv) else convolution.up
    kernel = layer.kernel[...]
    form = ConvolutionForm(layer.strides, padding, layer.dtype, layer.platform)  # pyright: ignore[reportArgumentType]
    outputs = operation(inputs.astype(kernel.dtype), kernel, form)
    outputs = outputs if layer.bias is None else outputs + layer.bias[...][None, None, None]
    return outputs.astype(activation_dtype(form.dtype, kernel.dtype, layer.platform))
