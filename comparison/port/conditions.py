"""What each side computes under, looked at before the first layer: where these differ, no layer is to blame."""

import hashlib
from collections.abc import Iterable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import torch

from comparison.port.arrays import leaves
from comparison.port.flax_side import FlaxSide, variables
from comparison.port.torch_side import TorchSide

SMALLEST = 1e-40  # below float32's normal numbers
Fact = tuple[str, str, str]


def conditions(torch_module: Any, flax_module: Any, sides: tuple[TorchSide, FlaxSide]) -> list[Fact]:
    """Name, PyTorch's and Flax's, as the modules were handed over."""
    torch_types = dict.fromkeys(str(each.dtype).removeprefix("torch.") for each in torch_module.parameters())
    flax_types = dict.fromkeys(str(each.dtype) for each in variables(flax_module).values())
    computes = dict.fromkeys(
        str(jnp.dtype(dtype)) for each in sides[1].paths().values() if (dtype := getattr(each, "dtype", None))
    )
    return [
        ("version", torch.__version__.partition("+")[0], f"{flax.__version__}, JAX {jax.__version__}"),
        ("weights are", ", ".join(torch_types) or "none", ", ".join(flax_types) or "none"),
        ("modules told to compute in", "-", ", ".join(computes) or "-"),
        ("mode", *_both("training" if side.training else "eval" for side in sides)),
        (
            "matrix products",
            torch.get_float32_matmul_precision(),
            str(getattr(jax.config, "jax_default_matmul_precision", None) or "default"),
        ),
        ("TF32 on a GPU", str(torch.backends.cuda.matmul.allow_tf32), "-"),
        ("denormal numbers", *_both("kept" if kept else "flushed to 0" for kept in _keep_denormals())),
        ("computed on", "cpu", jax.devices()[0].platform),
    ]


def hashes(side: Any, thing: Any) -> list[str]:
    """Size, mean and deviation of every array as this side holds it, and its SHA-256."""
    found = []
    for leaf in leaves(thing):
        array = np.ascontiguousarray(side.array(leaf))
        statistics = f"mean {array.mean():.6g}, deviation {array.std():.6g}" if array.size else "empty"
        found.append(f"{array.dtype} {array.shape}, {statistics}, {hashlib.sha256(array.tobytes()).hexdigest()[:12]}")
    return found


def _both(words: Iterable[str]) -> tuple[str, str]:
    of_torch, of_flax = words
    return of_torch, of_flax


def _keep_denormals() -> tuple[bool, bool]:
    return float(torch.tensor(SMALLEST) * 1.0) != 0, float(jnp.float32(SMALLEST) * jnp.float32(1.0)) != 0
