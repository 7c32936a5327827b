"""Where each kind of PyTorch module keeps its weights, and how Flax's module of the same kind holds them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from torch import nn


class Slot(NamedTuple):
    """One Flax variable, by its path below its module, and what makes it of PyTorch's tensors.

    An empty `flax` is a tensor that Flax's module has no place for.
    """

    torch: tuple[str, ...]
    flax: str
    make: Callable[..., np.ndarray]


class Kind(NamedTuple):
    """Modules that do the same in both frameworks; the slots are made of both modules."""

    name: str
    torch: tuple[type, ...]
    flax: tuple[type, ...]
    slots: Callable[[Any, Any], list[Slot]]


def _same(**names: str) -> list[Slot]:
    return [Slot((torch_name,), flax_name, lambda array: array) for torch_name, flax_name in names.items()]


def convolution(torch_module: Any, flax_module: Any) -> list[Slot]:
    """(O, I, ...) to (..., I, O)."""
    return [Slot(("weight",), "kernel", lambda w: w.transpose(*range(2, w.ndim), 1, 0)), *_same(bias="bias")]


def transposed_convolution(torch_module: Any, flax_module: Any) -> list[Slot]:
    """(I, O, ...) to (..., O, I), or flipped to (..., I, O), as Flax takes it without `transpose_kernel`."""

    def kernel(w: np.ndarray) -> np.ndarray:
        spatial = tuple(range(2, w.ndim))
        if flax_module.transpose_kernel:
            return w.transpose(*spatial, 1, 0)
        return np.flip(w, spatial).transpose(*spatial, 0, 1)

    return [Slot(("weight",), "kernel", kernel), *_same(bias="bias")]


def linear(torch_module: Any, flax_module: Any) -> list[Slot]:
    """(O, I) to (I, O), which nnx.LinearGeneral may split further."""
    kernel, bias = flax_module.kernel.shape, getattr(flax_module.bias, "shape", -1)
    return [
        Slot(("weight",), "kernel", lambda w: w.T.reshape(kernel)),
        Slot(("bias",), "bias", lambda b: b.reshape(bias)),
    ]


def attention(torch_module: Any, flax_module: Any) -> list[Slot]:
    """One stacked projection of queries, keys and values to three, each split into heads."""
    slots = [Slot(("out_proj.weight",), "out.kernel", lambda w: w.T.reshape(flax_module.out.kernel.shape))]
    for i, name in enumerate(("query", "key", "value")):
        shape = getattr(flax_module, name).kernel.shape
        slots += [
            Slot(("in_proj_weight",), f"{name}.kernel", lambda w, i=i, s=shape: np.split(w, 3)[i].T.reshape(s)),
            Slot(("in_proj_bias",), f"{name}.bias", lambda b, i=i, s=shape: np.split(b, 3)[i].reshape(s[1:])),
        ]
    return [*slots, *_same(**{"out_proj.bias": "out.bias"})]


def recurrent(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Stacked gates. Flax has one bias where PyTorch has two, and none for the hidden n of a GRU."""
    suffix = "_l0" if isinstance(torch_module, nn.RNNBase) else ""
    w_ih, w_hh, *biases = (f"{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    cell, start = (flax_module.cell, "cell.") if isinstance(flax_module, nnx.RNN) else (flax_module, "")
    if isinstance(cell, nnx.LSTMCell):
        slots = []
        for i, gate in enumerate("ifgo"):
            of_input = "if_" if gate == "f" else f"i{gate}"
            slots += [
                Slot((w_ih,), f"{start}{of_input}.kernel", lambda w, i=i: np.split(w, 4)[i].T),
                Slot((w_hh,), f"{start}h{gate}.kernel", lambda w, i=i: np.split(w, 4)[i].T),
                Slot(tuple(biases), f"{start}h{gate}.bias", lambda a, b, i=i: np.split(a + b, 4)[i]),
            ]
        return slots
    kernels = [Slot((w,), f"{start}dense_{x}.kernel", np.transpose) for w, x in ((w_ih, "i"), (w_hh, "h"))]
    if isinstance(cell, nnx.GRUCell):
        known = lambda a, b: a + np.where(np.arange(len(b)) < 2 * len(b) // 3, b, 0)  # noqa: E731
        rest = Slot((biases[1],), "", lambda b: b[2 * len(b) // 3 :])
        return [*kernels, Slot(tuple(biases), f"{start}dense_i.bias", known), rest]
    holder = "dense_h" if isinstance(cell, nnx.OptimizedLSTMCell) else "dense_i"
    return [*kernels, Slot(tuple(biases), f"{start}{holder}.bias", np.add)]


def own_parameters(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Of a module that a person wrote: by name, then by shape in order; transposed where only that fits."""
    theirs = {name: value for name, value in vars(flax_module).items() if isinstance(value, nnx.Param | nnx.BatchStat)}
    slots = []
    for name, tensor in torch_module.named_parameters(recurse=False):
        shape = tuple(tensor.shape)
        fitting = [each for each, value in theirs.items() if value.shape in (shape, shape[::-1])]
        if fitting:
            chosen = name if name in fitting else fitting[0]
            turned = theirs.pop(chosen).shape != shape
            slots.append(Slot((name,), chosen, np.transpose if turned else lambda array: array))
    return slots


def _of(**names: str) -> Callable[[Any, Any], list[Slot]]:
    return lambda torch_module, flax_module: _same(**names)


BATCH_NORMS = nn.modules.batchnorm._NormBase
TORCH_NORMS = (BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
FLAX_NORMS = (nnx.BatchNorm, nnx.LayerNorm, nnx.GroupNorm, nnx.RMSNorm, nnx.InstanceNorm)
norm = _of(weight="scale", bias="bias", running_mean="mean", running_var="var")
# The first that fits is taken.
KINDS = (
    Kind("attention", (nn.MultiheadAttention,), (nnx.MultiHeadAttention,), attention),
    Kind("LSTM", (nn.LSTM, nn.LSTMCell), (nnx.LSTMCell, nnx.OptimizedLSTMCell), recurrent),
    Kind("GRU", (nn.GRU, nn.GRUCell), (nnx.GRUCell,), recurrent),
    Kind("simple recurrence", (nn.RNN, nn.RNNCell), (nnx.SimpleCell,), recurrent),
    Kind("transposed convolution", (nn.modules.conv._ConvTransposeNd,), (nnx.ConvTranspose,), transposed_convolution),
    Kind("convolution", (nn.modules.conv._ConvNd,), (nnx.Conv,), convolution),
    Kind("linear", (nn.Linear,), (nnx.Linear, nnx.LinearGeneral), linear),
    Kind("normalisation", TORCH_NORMS, FLAX_NORMS, norm),
    Kind("embedding", (nn.Embedding,), (nnx.Embed,), _of(weight="embedding")),
    Kind("PReLU", (nn.PReLU,), (nnx.PReLU,), lambda *_: [Slot(("weight",), "negative_slope", np.squeeze)]),
)
OWN = Kind("own parameters", (), (), own_parameters)


def kind_of(module: Any) -> Kind | None:
    """The kind of either framework's module; OWN if it only holds parameters, None if it holds none itself."""
    looked_at = module.cell if isinstance(module, nnx.RNN) else module
    known = next((kind for kind in KINDS if isinstance(looked_at, kind.torch + kind.flax)), None)
    if isinstance(module, nn.Module):
        return known or (OWN if any(True for _ in module.parameters(recurse=False)) else None)
    return known or (OWN if any(isinstance(value, nnx.Param) for value in vars(module).values()) else None)
