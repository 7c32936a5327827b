"""What each side computes under, looked at before the first layer: where these differ, no layer is to blame."""

import hashlib
from collections.abc import Iterable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import torch

from comparison.port.flax_side import FlaxSide, variables
from comparison.port.torch_side import TorchSide

SMALLEST = 1e-40  # below float32's normal numbers
Fact = tuple[str, str, str]


def conditions(sides: tuple[TorchSide, FlaxSide]) -> list[Fact]:
    """Name, PyTorch's and Flax's, as the modules were handed over."""
    torch_side, flax_side = sides
    modes = ["training" if side.training else "eval" for side in sides]
    kept = float(torch.tensor(SMALLEST) * 1.0) != 0, float(jnp.float32(SMALLEST) * jnp.float32(1.0)) != 0
    told = [dtype for each in flax_side.paths().values() if (dtype := getattr(each, "dtype", None))]
    products = str(getattr(jax.config, "jax_default_matmul_precision", None) or "default")
    return [
        ("version", torch.__version__.partition("+")[0], f"{flax.__version__}, JAX {jax.__version__}"),
        ("weights are", _types(torch_side.module.parameters()), _types(variables(flax_side.original).values())),
        ("modules told to compute in", "-", ", ".join(dict.fromkeys(str(jnp.dtype(each)) for each in told)) or "-"),
        ("64 bits (x64)", "always there", "on" if jax.config.read("jax_enable_x64") else "off"),
        ("mode", modes[0], modes[1]),
        ("matrix products", torch.get_float32_matmul_precision(), products),
        ("TF32 on a GPU", str(torch.backends.cuda.matmul.allow_tf32), "-"),
        ("denormal numbers", *("kept" if each else "flushed to 0" for each in kept)),  # pyright: ignore[reportReturnType]
        ("computed on", "cpu", jax.devices()[0].platform),
    ]


def hashes(side: TorchSide | FlaxSide, thing: Any) -> list[str]:
    """Size, mean and deviation of every array as this side holds it, and its SHA-256."""
    found = []
    for array in map(np.ascontiguousarray, side.arrays(thing)):
        statistics = f"mean {array.mean():.6g}, deviation {array.std():.6g}" if array.size else "empty"
        found.append(f"{array.dtype} {array.shape}, {statistics}, {hashlib.sha256(array.tobytes()).hexdigest()[:12]}")
    return found


def _types(arrays: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(each.dtype).removeprefix("torch.") for each in arrays)) or "none"
