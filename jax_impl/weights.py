"""Native layout <-> canonical weights (common/contract.py). Mirrors torch_impl/weights.py."""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from common.contract import Weights
from common.networks.layers import BatchNorm, Conv, ConvTranspose, LayerSpec, Linear

BATCH_NORM_BUFFERS = {"running_mean": "mean", "running_var": "var"}
# Canonical (out, in, K, K) of Conv and (in, out, K, K) of ConvTranspose <-> Flax (K, K, in, out) and (K, K, out, in).
_TO_NATIVE, _TO_CANONICAL = (2, 3, 1, 0), (3, 2, 0, 1)
# Canonical name -> Flax name of each layer kind's parameters.
PARAMETERS: dict[type, dict[str, str]] = {
    Conv: {"weight": "kernel", "bias": "bias"},
    ConvTranspose: {"weight": "kernel", "bias": "bias"},
    Linear: {"weight": "kernel", "bias": "bias"},
    BatchNorm: {"weight": "scale", "bias": "bias"},
}


def load_weights(
    weights: Weights, name: str, network: nnx.Module, optimizer: nnx.Optimizer, specs: tuple[LayerSpec, ...]
) -> None:
    """Copy `NAME.*` into one network and its optimizer; names and shapes are checked by the caller."""
    adam = optimizer.opt_state[0]
    for key, variable in _buffers(name, network, specs):
        variable.set_value(jnp.array(weights[key]))
    for key, path, spec in _parameters(name, network, specs):
        _at(network, path).set_value(jnp.array(to_native(weights[key], spec)))
        _at(adam.mu, path).set_value(jnp.array(to_native(weights[f"{key}.adam.exp_avg"], spec)))
        _at(adam.nu, path).set_value(jnp.array(to_native(weights[f"{key}.adam.exp_avg_sq"], spec)))
    step = weights[f"{name}.adam.step"]
    adam.count.set_value(jnp.array(step, adam.count[...].dtype))
    optimizer.step.set_value(jnp.array(step, optimizer.step[...].dtype))


def export_weights(
    name: str,
    network: nnx.Module,
    optimizer: nnx.Optimizer,
    specs: tuple[LayerSpec, ...],
    wanted: Callable[[str], bool],
) -> Weights:
    """The inverse of `load_weights`: copies of the `wanted` tensors in canonical axis order."""
    weights = {
        key: to_canonical(np.asarray(variable[...]), spec)
        for key, variable, spec in _variables(name, network, optimizer, specs)
        if wanted(key)
    }
    if wanted(f"{name}.adam.step"):
        weights[f"{name}.adam.step"] = np.array(optimizer.opt_state[0].count[...], np.int64)
    return weights


def to_native(array: np.ndarray, spec: LayerSpec) -> np.ndarray:
    """A parameter of `spec`, or a moment of it, in Flax's axis order."""
    if isinstance(spec, Linear):
        return _channels_last(array, spec)
    return np.ascontiguousarray(array.transpose(_TO_NATIVE)) if array.ndim == 4 else array


def to_canonical(array: np.ndarray, spec: LayerSpec | None) -> np.ndarray:
    """The inverse of `to_native`; a copy, since the step that comes next overwrites its arguments."""
    if isinstance(spec, Linear):
        return _channels_first(array, spec).copy()
    return array.transpose(_TO_CANONICAL).copy() if array.ndim == 4 else array.copy()


def _variables(
    name: str, network: nnx.Module, optimizer: nnx.Optimizer, specs: tuple[LayerSpec, ...]
) -> Iterator[tuple[str, nnx.Variable, LayerSpec | None]]:
    adam = optimizer.opt_state[0]
    for key, variable in _buffers(name, network, specs):
        yield key, variable, None
    for key, path, spec in _parameters(name, network, specs):
        yield key, _at(network, path), spec
        yield f"{key}.adam.exp_avg", _at(adam.mu, path), spec
        yield f"{key}.adam.exp_avg_sq", _at(adam.nu, path), spec


def _parameters(
    name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]
) -> Iterator[tuple[str, tuple[str | int, ...], LayerSpec]]:
    for index, spec in enumerate(specs):
        for canonical, native in PARAMETERS.get(type(spec), {}).items():
            path = ("layers", index, native)
            if _at(network, path) is not None:
                yield f"{name}.layers.{index}.{canonical}", path, spec


def _buffers(name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]) -> Iterator[tuple[str, nnx.Variable]]:
    for index, spec in enumerate(specs):
        if isinstance(spec, BatchNorm):
            for canonical, native in BATCH_NORM_BUFFERS.items():
                yield f"{name}.layers.{index}.{canonical}", _at(network, ("layers", index, native))


def _at(node: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        node = node[part] if isinstance(part, int) or not hasattr(node, part) else getattr(node, part)
    return node


def _channels_last(array: np.ndarray, spec: Linear) -> np.ndarray:
    """Canonical (out C S S, in C S S) or (out C S S,) to Flax's (in S S C, out S S C) or (out S S C,)."""
    outputs = (spec.out_channels, spec.out_size, spec.out_size)
    if array.ndim == 1:
        return array.reshape(outputs).transpose(1, 2, 0).ravel()
    inputs = (spec.in_channels, spec.in_size, spec.in_size)
    kernel = array.reshape(*outputs, *inputs).transpose(4, 5, 3, 1, 2, 0)
    return kernel.reshape(spec.in_features, spec.out_features)


def _channels_first(array: np.ndarray, spec: Linear) -> np.ndarray:
    outputs = (spec.out_size, spec.out_size, spec.out_channels)
    if array.ndim == 1:
        return array.reshape(outputs).transpose(2, 0, 1).ravel()
    inputs = (spec.in_size, spec.in_size, spec.in_channels)
    weight = array.reshape(*inputs, *outputs).transpose(5, 3, 4, 2, 0, 1)
    return weight.reshape(spec.out_features, spec.in_features)
