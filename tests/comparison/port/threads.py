"""The nine public threads on ports that differed, each reproduced as a small pair."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

from tests.comparison.port.pairs import UnbiasedBatchNorm, drawn

CLIPPED_TO = 0.01
MANY_ROWS = 64


class TorchClip(nn.Module):
    """goodfire-ai/spd#643: PyTorch divides by the norm plus 1e-6."""

    def forward(self, gradients: torch.Tensor) -> torch.Tensor:
        parameter = nn.Parameter(torch.zeros_like(gradients))
        parameter.grad = gradients.clone()
        nn.utils.clip_grad_norm_([parameter], CLIPPED_TO)
        return parameter.grad


class FlaxClip(nnx.Module):
    def __call__(self, gradients: jax.Array) -> jax.Array:
        return optax.clip_by_global_norm(CLIPPED_TO).update(gradients, optax.EmptyState())[0]


def torch_stack() -> nn.Module:
    """goodfire-ai/spd#725: twelve layers, so that "10" is sorted before "2"."""
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(12)))


def flax_stack() -> nnx.Module:
    layers: Any = nnx.Sequential(*(nnx.Linear(4, 4, rngs=nnx.Rngs(0)) for _ in range(12)))
    given = torch_stack()
    for place, name in enumerate(sorted(map(str, range(12)))):
        source: Any = given.get_submodule(name)
        layers.layers[place].kernel.set_value(jnp.asarray(source.weight.detach().numpy().T))
        layers.layers[place].bias.set_value(jnp.asarray(source.bias.detach().numpy()))
    return layers


class FlaxBehindALoader(nnx.Module):
    """jax#37830: on a CPU `device_put` aliases the loader's one buffer, which the loader then refills."""

    def __init__(self) -> None:
        self.linear = nnx.Linear(64, 3, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        memory = np.zeros(x.size * x.dtype.itemsize + 64, np.uint8)
        start = -memory.ctypes.data % 64  # what is aligned like this is not copied
        buffer = memory[start : start + x.size * x.dtype.itemsize].view(x.dtype).reshape(x.shape)
        np.copyto(buffer, np.asarray(x))
        batch = jax.device_put(buffer)
        np.copyto(buffer, np.asarray(x)[::-1])
        return self.linear(batch)


class TorchBehindALoader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def _forward(x: jax.Array, kernel: jax.Array) -> Any:
    return product(x, kernel), (x, kernel)


def _backward(kept: Any, cotangent: jax.Array) -> Any:
    x, kernel = kept
    counted = x.at[MANY_ROWS:].set(0)  # the rest is lost
    return cotangent @ kernel.T, counted.T @ cotangent


product.defvjp(_forward, _backward)


class FlaxWrongBeyondASize(nnx.Linear):
    """openxla/xla#13054: the gradient is right for few rows and wrong for many."""

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        return product(inputs, self.kernel[...]) + self.bias[...]  # pyright: ignore[reportOptionalSubscript]


class FlaxCoarseLinear(nnx.Linear):
    """typoverflow/flow-rl#12: TF32 in one framework's matrix products; 10 bits of mantissa, in float32 alone."""

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        if inputs.dtype == jnp.float32:
            bits = jax.lax.bitcast_convert_type(inputs, jnp.uint32)
            inputs = jax.lax.bitcast_convert_type((bits + 0x1000) & jnp.uint32(0xFFFFE000), jnp.float32)
        return super().__call__(inputs, out_sharding)


class TorchResize(nn.Module):
    """sayakpaul/cmmd-pytorch#4: one resize is antialiased, the other not, before the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(images, (8, 8), mode="bilinear", align_corners=False))


class FlaxResize(nnx.Module):
    def __init__(self) -> None:
        self.conv = nnx.Conv(3, 4, (3, 3), padding=1, rngs=nnx.Rngs(0))

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.conv(jax.image.resize(images, (len(images), 8, 8, 3), "bilinear"))


def flax_average() -> nnx.Module:
    """mlcommons/algorithmic-efficiency#809: one evaluates an average of the weights, the other the live ones."""
    layers: Any = nnx.Sequential(*(nnx.Linear(4, 4, rngs=nnx.Rngs(0)) for _ in range(12)))
    for layer, source in zip(layers.layers, torch_stack().children(), strict=True):
        weight = source.weight.detach().numpy()  # pyright: ignore
        layer.kernel.set_value(jnp.asarray(0.99 * weight.T + 0.01))
        layer.bias.set_value(jnp.asarray(0.99 * source.bias.detach().numpy() + 0.01))  # pyright: ignore
    return layers


class TorchMean(nn.Module):
    """mlx-lm#1544, torchtitan#2206, flax#2417: the mean of unequal means."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return F.softplus(logits).mean()


class FlaxMeanOfMeans(nnx.Module):
    def __call__(self, logits: jax.Array) -> jax.Array:
        return (nnx.softplus(logits[:40]).mean() + nnx.softplus(logits[40:]).mean()) / 2


# Thread: PyTorch's builder, Flax's, inputs, and what the report must say: stage, path, words of the readings or cause.
THREADS: dict[str, tuple[Any, Any, Any, str, str, str]] = {
    "goodfire-ai/spd#643": (TorchClip, FlaxClip, lambda: drawn(50), "forward", "", ""),
    "goodfire-ai/spd#725": (torch_stack, flax_stack, lambda: drawn(5, 4), "weights", "2", "belongs into"),
    "jax#37830": (TorchBehindALoader, FlaxBehindALoader, lambda: drawn(64, 64), "inputs", "", "reversed along axis 0"),
    "openxla/xla#13054": (
        lambda: nn.Sequential(nn.Linear(5, 3)),
        lambda: nnx.Sequential(FlaxWrongBeyondASize(5, 3, rngs=nnx.Rngs(0))),
        lambda: drawn(2 * MANY_ROWS, 5),
        "gradients",
        "0",
        "first 64 of 128 rows",
    ),
    "pytorch#187444": (
        lambda: nn.Sequential(nn.BatchNorm1d(6)),
        lambda: nnx.Sequential(UnbiasedBatchNorm(6, momentum=0.9, rngs=nnx.Rngs(0))),
        lambda: drawn(32, 6) + 1000,
        "forward",
        "0",
        "use_fast_variance",
    ),
    "typoverflow/flow-rl#12": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
        lambda: nnx.Sequential(nnx.Linear(5, 4, rngs=nnx.Rngs(0)), jnp.tanh, FlaxCoarseLinear(4, 3, rngs=nnx.Rngs(0))),
        lambda: drawn(8, 5),
        "forward",
        "2",
        "as TF32 does",
    ),
    "sayakpaul/cmmd-pytorch#4": (
        TorchResize,
        FlaxResize,
        lambda: drawn(2, 3, 32, 32),
        "inputs",
        "",
        "before the first layer",
    ),
    "mlcommons/algorithmic-efficiency#809": (torch_stack, flax_average, lambda: drawn(5, 4), "weights", "0", "average"),
    "mlx-lm#1544": (TorchMean, FlaxMeanOfMeans, lambda: drawn(64), "forward", "", ""),
}
