"""Four small models as each framework's documentation writes them, and faults that people really make in porting them.

Nothing here was made for the tracer to fit: names, containers and order of attributes are each framework's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn


class Case(NamedTuple):
    """A pair with its inputs, and which fault is in the Flax module, if any."""

    torch: Callable[[], nn.Module]
    flax: Callable[..., nnx.Module]  # takes the name of a fault
    inputs: Callable[[], Any]
    faults: dict[str, tuple[str, str]]  # name: the PyTorch module to be named, a word of the cause or nothing


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class UnbiasedBatchNorm(nnx.BatchNorm):
    """With PyTorch's running variance, n / (n - 1) times Flax's."""

    def __call__(self, x: Any, use_running_average: bool | None = None, **kwargs: Any) -> Any:
        old = self.var[...]
        outputs = super().__call__(x, use_running_average, **kwargs)
        if not self.use_running_average:
            count = x.size // x.shape[-1]
            self.var[...] = self.var[...] + (self.var[...] - self.momentum * old) / (count - 1)
        return outputs


# A residual network.


class TorchBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)) if stride > 1 else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class TorchResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(TorchBlock(8, 8, 1))
        self.layer2 = nn.Sequential(TorchBlock(8, 12, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.flatten(self.pool(self.layer2(self.layer1(x))), 1))


class FlaxBlock(nnx.Module):
    def __init__(self, inner: int, outer: int, stride: int, norm: Any, padding: Any, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(inner, outer, (3, 3), strides=stride, padding=padding, use_bias=False, rngs=rngs)
        self.bn1 = norm(outer, rngs=rngs)
        self.conv2 = nnx.Conv(outer, outer, (3, 3), padding=1, use_bias=False, rngs=rngs)
        self.bn2 = norm(outer, rngs=rngs)
        self.downsample = nnx.data(None)
        if stride > 1:
            conv = nnx.Conv(inner, outer, (1, 1), strides=stride, padding=0, use_bias=False, rngs=rngs)
            self.downsample = nnx.Sequential(conv, norm(outer, rngs=rngs))

    def __call__(self, x: jax.Array) -> jax.Array:
        out = nnx.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return nnx.relu(out + (x if self.downsample is None else self.downsample(x)))


class FlaxResNet(nnx.Module):
    def __init__(self, fault: str = "", batch_norm: Any = UnbiasedBatchNorm) -> None:
        rngs = nnx.Rngs(0)

        def norm(size: int, *, rngs: nnx.Rngs, momentum: float = 0.9, epsilon: float = 1e-5) -> nnx.BatchNorm:
            return batch_norm(size, momentum=momentum, epsilon=epsilon, rngs=rngs)

        self.conv1 = nnx.Conv(3, 8, (3, 3), padding=1, use_bias=False, rngs=rngs)
        self.bn1 = norm(8, rngs=rngs, **{"momentum": {"momentum": 0.1}, "eps": {"epsilon": 1e-3}}.get(fault, {}))
        self.layer1 = nnx.Sequential(FlaxBlock(8, 8, 1, norm, 1, rngs=rngs))
        padding = "SAME" if fault == "padding" else 1
        self.layer2 = nnx.Sequential(FlaxBlock(8, 12, 2, norm, padding, rngs=rngs))
        self.fc = nnx.Linear(12, 5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).mean((1, 2)))


# A U-Net: skip connections, transposed convolutions, lists of modules in attributes of other names.


class TorchUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.downs = nn.ModuleList([nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 10, 3, padding=1)])
        self.pool = nn.MaxPool2d(2)
        self.bottom = nn.Conv2d(10, 10, 3, padding=1)
        self.ups = nn.ModuleList([nn.ConvTranspose2d(10, 10, 2, 2), nn.ConvTranspose2d(6, 6, 4, 2, padding=1)])
        self.after = nn.ModuleList([nn.Conv2d(20, 6, 3, padding=1), nn.Conv2d(12, 6, 3, padding=1)])
        self.act = nn.LeakyReLU(0.2)
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for down in self.downs:
            x = self.act(down(x))
            skips.append(x)
            x = self.pool(x)
        x = self.act(self.bottom(x))
        for up, after, skip in zip(self.ups, self.after, reversed(skips), strict=True):
            x = self.act(after(torch.cat([skip, up(x)], 1)))
        return self.head(x)


class UnflippedConvTranspose(nnx.ConvTranspose):
    """Written by hand, with the axes of the kernel swapped but not flipped."""

    def __call__(self, inputs: jax.Array) -> jax.Array:
        kernel = self.kernel[...].swapaxes(2, 3)
        return jax.lax.conv_transpose(inputs, kernel, (2, 2), [(2, 2), (2, 2)]) + self.bias[...]  # pyright: ignore[reportOptionalSubscript]


class FlaxUNet(nnx.Module):
    def __init__(self, fault: str = "") -> None:
        rngs = nnx.Rngs(0)
        self.fault = fault
        self.down = nnx.List([nnx.Conv(2, 6, (3, 3), rngs=rngs), nnx.Conv(6, 10, (3, 3), rngs=rngs)])
        self.middle = nnx.Conv(10, 10, (3, 3), rngs=rngs)
        transposed = UnflippedConvTranspose if fault == "flip" else nnx.ConvTranspose
        self.up = nnx.List(
            [
                nnx.ConvTranspose(10, 10, (2, 2), (2, 2), padding="VALID", transpose_kernel=True, rngs=rngs),
                transposed(6, 6, (4, 4), (2, 2), padding=[(2, 2), (2, 2)], transpose_kernel=True, rngs=rngs),
            ]
        )
        self.merge = nnx.List([nnx.Conv(20, 6, (3, 3), rngs=rngs), nnx.Conv(12, 6, (3, 3), rngs=rngs)])
        self.out = nnx.Conv(6, 1, (1, 1), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        act = lambda x: nnx.leaky_relu(x, 0.01 if self.fault == "slope" else 0.2)  # noqa: E731
        skips = []
        for down in self.down:
            x = act(down(x))
            skips.append(x)
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = act(self.middle(x))
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            parts = [up(x), skip] if self.fault == "order of the skip" and skip.shape[-1] == 6 else [skip, up(x)]
            x = act(merge(jnp.concatenate(parts, -1)))
        return self.out(x)


# A transformer encoder: embedding, attention, LayerNorm, a mask by keyword, integer inputs.


class TorchEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.position = nn.Parameter(torch.randn(1, 6, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16), enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor, *, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.encoder(self.embed(tokens) * scale + self.position)
        return self.head(hidden[:, 0]), hidden


class FlaxEncoderLayer(nnx.Module):
    def __init__(self, fault: str, *, rngs: nnx.Rngs) -> None:
        self.fault = fault
        self.ln_attention = nnx.LayerNorm(16, epsilon=1e-6 if fault == "eps" else 1e-5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 16, decode=False, dropout_rate=0.1, rngs=rngs)
        self.ln_mlp = nnx.LayerNorm(16, epsilon=1e-5, rngs=rngs)
        self.wide = nnx.Linear(16, 32, rngs=rngs)
        self.narrow = nnx.Linear(32, 16, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.fault == "norm after":
            x = self.ln_attention(x + self.attention(x))
            return self.ln_mlp(x + self.narrow(nnx.gelu(self.wide(x), approximate=False)))
        x = x + self.attention(self.ln_attention(x))
        return x + self.narrow(nnx.gelu(self.wide(self.ln_mlp(x)), approximate=self.fault == "gelu"))


class FlaxEncoder(nnx.Module):
    def __init__(self, fault: str = "") -> None:
        rngs = nnx.Rngs(0)
        self.token_embedding = nnx.Embed(20, 16, rngs=rngs)
        self.position = nnx.Param(jax.random.normal(rngs.params(), (1, 6, 16)))
        self.blocks = nnx.List([FlaxEncoderLayer(fault, rngs=rngs), FlaxEncoderLayer("", rngs=rngs)])
        self.ln_out = nnx.LayerNorm(16, epsilon=1e-5, rngs=rngs)
        self.head = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, tokens: jax.Array, *, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = self.token_embedding(tokens) * scale + self.position[...]
        for block in self.blocks:
            x = block(x)
        x = self.ln_out(x)
        return self.head(x[:, 0]), x


# A recurrent cell, used once for every step: one module called many times.


class TorchRecurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 7)
        self.heads = nn.ModuleDict({"value": nn.Linear(7, 1), "policy": nn.Linear(7, 3)})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = c = x.new_zeros(len(x), 7)
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
        return {name: head(h) for name, head in self.heads.items()}


class FlaxRecurrent(nnx.Module):
    def __init__(self, fault: str = "") -> None:
        rngs = nnx.Rngs(0)
        self.fault = fault
        gate = nnx.hard_sigmoid if fault == "gate" else nnx.sigmoid
        self.lstm = nnx.OptimizedLSTMCell(5, 7, gate_fn=gate, rngs=rngs)
        self.heads = nnx.Dict(value=nnx.Linear(7, 1, rngs=rngs), policy=nnx.Linear(7, 3, rngs=rngs))

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        h = c = jnp.zeros((len(x), 7), x.dtype)
        carry: Any = (c, h)
        for step in range(x.shape[1]):
            carry, h = self.lstm(carry[::-1] if self.fault == "carry swapped" else carry, x[:, step])
        return {
            name: head(h if name == "value" or self.fault != "memory" else carry[0])
            for name, head in self.heads.items()
        }


CASES = {
    "residual network": Case(
        TorchResNet,
        FlaxResNet,
        lambda: drawn(4, 3, 10, 10),
        {"momentum": ("bn1", "momentum"), "eps": ("bn1", "epsilon"), "padding": ("layer2.0.conv1", "padding")},
    ),
    "U-Net": Case(
        TorchUNet,
        FlaxUNet,
        lambda: drawn(2, 2, 8, 8),
        {"flip": ("ups.1", "flipping"), "slope": ("", "negative_slope 0.01"), "order of the skip": ("", "")},
    ),
    "transformer encoder": Case(
        TorchEncoder,
        FlaxEncoder,
        lambda: {"arr_0": np.random.default_rng(0).integers(0, 20, (3, 6)), "scale": np.float32(4)},
        {
            "eps": ("encoder.layers.0.norm1", "epsilon"),
            "gelu": ("encoder.layers.0", ""),
            "norm after": ("encoder.layers.0", "norm_first"),
        },
    ),
    "recurrent cell": Case(
        TorchRecurrent,
        FlaxRecurrent,
        lambda: drawn(3, 4, 5),
        {"gate": ("cell", ""), "carry swapped": ("cell", ""), "memory": ("", "")},
    ),
}
