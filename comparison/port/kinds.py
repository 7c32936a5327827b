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
    """Modules that do the same in both frameworks."""

    name: str
    torch: tuple[type, ...]
    flax: tuple[type, ...]
    slots: Callable[[Any, Any], list[Slot]]


def convolution(torch_module: Any, flax_module: Any) -> list[Slot]:
    """(O, I, ...) to (..., I, O)."""
    return [Slot(("weight",), "kernel", lambda w: w.transpose(*range(2, w.ndim), 1, 0)), *_plain(bias="bias")]


def transposed_convolution(torch_module: Any, flax_module: Any) -> list[Slot]:
    """(I, O, ...) to (..., O, I), or flipped to (..., I, O), as Flax takes it without `transpose_kernel`."""

    def kernel(w: np.ndarray) -> np.ndarray:
        spatial = tuple(range(2, w.ndim))
        if flax_module.transpose_kernel:
            return w.transpose(*spatial, 1, 0)
        return np.flip(w, spatial).transpose(*spatial, 0, 1)

    return [Slot(("weight",), "kernel", kernel), *_plain(bias="bias")]


def linear(torch_module: Any, flax_module: Any) -> list[Slot]:
    """(O, I) to (I, O), which nnx.LinearGeneral may split further."""
    kernel, bias = flax_module.kernel.shape, getattr(flax_module.bias, "shape", None)
    return [
        Slot(("weight",), "kernel", lambda w: w.T.reshape(kernel)),
        Slot(("bias",), "bias", lambda b: b.reshape(bias) if bias else b),
    ]


def normalisation(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Scale, bias and running statistics, as they are."""
    return _plain(weight="scale", bias="bias", running_mean="mean", running_var="var")


def attention(torch_module: Any, flax_module: Any) -> list[Slot]:
    """One stacked projection of queries, keys and values to three, each split into heads."""
    slots = []
    for index, name in enumerate(("query", "key", "value")):
        shape = getattr(flax_module, name).kernel.shape
        slots.append(
            Slot(("in_proj_weight",), f"{name}.kernel", lambda w, i=index, s=shape: np.split(w, 3)[i].T.reshape(s))
        )
        slots.append(
            Slot(("in_proj_bias",), f"{name}.bias", lambda b, i=index, s=shape: np.split(b, 3)[i].reshape(s[1:]))
        )
    out = flax_module.out.kernel.shape
    slots.append(Slot(("out_proj.weight",), "out.kernel", lambda w: w.T.reshape(out)))
    return [*slots, Slot(("out_proj.bias",), "out.bias", lambda b: b)]


def lstm(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Gates i, f, g, o stacked; Flax has one bias where PyTorch has two."""
    (w_ih, w_hh, b_ih, b_hh), cell, prefix = _recurrent(torch_module, flax_module)
    if isinstance(cell, nnx.OptimizedLSTMCell):
        return [
            Slot((w_ih,), f"{prefix}dense_i.kernel", np.transpose),
            Slot((w_hh,), f"{prefix}dense_h.kernel", np.transpose),
            Slot((b_ih, b_hh), f"{prefix}dense_h.bias", np.add),
        ]
    slots = []
    for index, gate in enumerate("ifgo"):
        of_input = "if_" if gate == "f" else f"i{gate}"
        slots += [
            Slot((w_ih,), f"{prefix}{of_input}.kernel", lambda w, i=index: np.split(w, 4)[i].T),
            Slot((w_hh,), f"{prefix}h{gate}.kernel", lambda w, i=index: np.split(w, 4)[i].T),
            Slot((b_ih, b_hh), f"{prefix}h{gate}.bias", lambda a, b, i=index: np.split(a + b, 4)[i]),
        ]
    return slots


def gru(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Gates r, z, n stacked; Flax has no place for the hidden bias of n."""
    (w_ih, w_hh, b_ih, b_hh), _, prefix = _recurrent(torch_module, flax_module)
    return [
        Slot((w_ih,), f"{prefix}dense_i.kernel", np.transpose),
        Slot((w_hh,), f"{prefix}dense_h.kernel", np.transpose),
        Slot(
            (b_ih, b_hh), f"{prefix}dense_i.bias", lambda a, b: a + np.where(np.arange(len(b)) < 2 * len(b) // 3, b, 0)
        ),
        Slot((b_hh,), "", lambda b: b[2 * len(b) // 3 :]),
    ]


def simple_recurrence(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Two kernels; Flax has one bias where PyTorch has two."""
    (w_ih, w_hh, b_ih, b_hh), _, prefix = _recurrent(torch_module, flax_module)
    return [
        Slot((w_ih,), f"{prefix}dense_i.kernel", np.transpose),
        Slot((w_hh,), f"{prefix}dense_h.kernel", np.transpose),
        Slot((b_ih, b_hh), f"{prefix}dense_i.bias", np.add),
    ]


def own_parameters(torch_module: Any, flax_module: Any) -> list[Slot]:
    """Of a module that a person wrote: by name, then by shape in order; transposed where only that fits."""
    theirs = {name: value for name, value in vars(flax_module).items() if isinstance(value, nnx.Param | nnx.BatchStat)}
    slots = []
    for name, tensor in torch_module._parameters.items():
        if tensor is None:
            continue
        shape = tuple(tensor.shape)
        fitting = [each for each, value in theirs.items() if value.shape in (shape, shape[::-1])]
        if fitting:
            chosen = name if name in fitting else fitting[0]
            turned = theirs.pop(chosen).shape != shape
            slots.append(Slot((name,), chosen, np.transpose if turned else lambda array: array))
    return slots


def _plain(**names: str) -> list[Slot]:
    return [Slot((torch_name,), flax_name, lambda array: array) for torch_name, flax_name in names.items()]


def _recurrent(torch_module: Any, flax_module: Any) -> tuple[list[str], Any, str]:
    suffix = "_l0" if isinstance(torch_module, nn.RNNBase) else ""
    names = [f"{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    if isinstance(flax_module, nnx.RNN):
        return names, flax_module.cell, "cell."
    return names, flax_module, ""


BATCH_NORMS, NORMS = nn.modules.batchnorm._NormBase, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# The first that fits is taken.
KINDS = (
    Kind("attention", (nn.MultiheadAttention,), (nnx.MultiHeadAttention,), attention),
    Kind("LSTM", (nn.LSTM, nn.LSTMCell), (nnx.LSTMCell, nnx.OptimizedLSTMCell), lstm),
    Kind("GRU", (nn.GRU, nn.GRUCell), (nnx.GRUCell,), gru),
    Kind("simple recurrence", (nn.RNN, nn.RNNCell), (nnx.SimpleCell,), simple_recurrence),
    Kind("convolution", (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nnx.Conv,), convolution),
    Kind(
        "transposed convolution",
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        (nnx.ConvTranspose,),
        transposed_convolution,
    ),
    Kind("linear", (nn.Linear,), (nnx.Linear, nnx.LinearGeneral), linear),
    Kind(
        "normalisation",
        (BATCH_NORMS, *NORMS),
        (nnx.BatchNorm, nnx.LayerNorm, nnx.GroupNorm, nnx.RMSNorm, nnx.InstanceNorm),
        normalisation,
    ),
    Kind("embedding", (nn.Embedding,), (nnx.Embed,), lambda *_: _plain(weight="embedding")),
    Kind("PReLU", (nn.PReLU,), (nnx.PReLU,), lambda *_: [Slot(("weight",), "negative_slope", np.squeeze)]),
)
OWN = Kind("own parameters", (), (), own_parameters)


def kind_of(module: Any) -> Kind | None:
    """The kind of either framework's module; OWN if it only holds parameters, None if it holds none itself."""
    looked_at = module.cell if isinstance(module, nnx.RNN) else module
    for kind in KINDS:
        if isinstance(looked_at, kind.torch + kind.flax):
            return kind
    if isinstance(module, nn.Module):
        return OWN if any(parameter is not None for parameter in module._parameters.values()) else None
    return OWN if any(isinstance(value, nnx.Param) for value in vars(module).values()) else None
