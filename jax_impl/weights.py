"""Native layout <-> canonical weights (common/contract.py). Mirrors torch_impl/weights.py."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from common.architectures import BatchNorm, Conv, ConvTranspose, LayerSpec
from common.contract import Weights

BATCH_NORM_BUFFERS = {"running_mean": "mean", "running_var": "var"}
# Canonical (out, in, K, K) of Conv and (in, out, K, K) of ConvTranspose <-> Flax (K, K, in, out) and (K, K, out, in).
TO_NATIVE, TO_CANONICAL = (2, 3, 1, 0), (3, 2, 0, 1)
# Canonical name -> Flax name of each layer kind's parameters.
PARAMETERS: dict[type, dict[str, str]] = {
    Conv: {"weight": "kernel", "bias": "bias"},
    ConvTranspose: {"weight": "kernel", "bias": "bias"},
    BatchNorm: {"weight": "scale", "bias": "bias"},
}


def load_weights(
    weights: Weights, name: str, network: nnx.Module, specs: tuple[LayerSpec, ...], optimizer: nnx.Optimizer
) -> None:
    """Copy `NAME.*` into one network and its optimizer; names and shapes are checked by the caller."""
    adam = optimizer.opt_state[0]
    for key, variable in _buffers(name, network, specs):
        variable.set_value(jnp.array(weights[key]))
    for key, path, variable in _parameters(name, network, specs):
        variable.set_value(_to_native(weights[key]))
        _at(adam.mu, path).set_value(_to_native(weights[f"{key}.adam.exp_avg"]))
        _at(adam.nu, path).set_value(_to_native(weights[f"{key}.adam.exp_avg_sq"]))
    step = weights[f"{name}.adam.step"]
    adam.count.set_value(jnp.array(step, adam.count[...].dtype))
    optimizer.step.set_value(jnp.array(step, optimizer.step[...].dtype))


def export_weights(name: str, network: nnx.Module, specs: tuple[LayerSpec, ...], optimizer: nnx.Optimizer) -> Weights:
    """The inverse of `load_weights`: copies in canonical axis order."""
    adam = optimizer.opt_state[0]
    weights = {key: np.array(variable[...]) for key, variable in _buffers(name, network, specs)}
    for key, path, variable in _parameters(name, network, specs):
        weights[key] = _to_canonical(variable[...])
        weights[f"{key}.adam.exp_avg"] = _to_canonical(_at(adam.mu, path)[...])
        weights[f"{key}.adam.exp_avg_sq"] = _to_canonical(_at(adam.nu, path)[...])
    weights[f"{name}.adam.step"] = np.array(adam.count[...], np.int64)
    return weights


def _parameters(
    name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]
) -> Iterator[tuple[str, tuple[str | int, ...], nnx.Variable]]:
    for index, spec in enumerate(specs):
        for canonical, native in PARAMETERS.get(type(spec), {}).items():
            path = ("layers", index, native)
            variable = _at(network, path)
            if variable is not None:
                yield f"{name}.layers.{index}.{canonical}", path, variable


def _buffers(name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]) -> Iterator[tuple[str, nnx.Variable]]:
    for index, spec in enumerate(specs):
        if isinstance(spec, BatchNorm):
            for canonical, native in BATCH_NORM_BUFFERS.items():
                yield f"{name}.layers.{index}.{canonical}", _at(network, ("layers", index, native))


def _at(node: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        node = node[part] if isinstance(part, int) or not hasattr(node, part) else getattr(node, part)
    return node


def _to_native(array: np.ndarray) -> jax.Array:
    return jnp.array(array.transpose(TO_NATIVE) if array.ndim == 4 else array)


def _to_canonical(array: jax.Array) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(array).transpose(TO_CANONICAL)) if array.ndim == 4 else np.array(array)
