"""Native layout <-> canonical weights (common/contract.py). Mirrors torch_impl/weights.py."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
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
    load_network(weights, name, network, specs)
    adam = optimizer.opt_state[0]
    for key, path, spec in _parameters(name, network, specs):
        _at(adam.mu, path).set_value(jnp.array(to_native(weights[f"{key}.adam.exp_avg"], spec)))
        _at(adam.nu, path).set_value(jnp.array(to_native(weights[f"{key}.adam.exp_avg_sq"], spec)))
    step = weights[f"{name}.adam.step"]
    adam.count.set_value(jnp.array(step, adam.count[...].dtype))
    optimizer.step.set_value(jnp.array(step, optimizer.step[...].dtype))


def load_network(weights: Weights, name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]) -> None:
    """Copy parameters and running statistics alone."""
    for key, variable, spec in _tensors(name, network, specs):
        variable.set_value(jnp.array(to_native(weights[key], spec)))


def export_weights(name: str, network: nnx.Module, optimizer: nnx.Optimizer, specs: tuple[LayerSpec, ...]) -> Weights:
    """The inverse of `load_weights`: copies in canonical axis order."""
    adam = optimizer.opt_state[0]
    variables = list(_tensors(name, network, specs))
    for key, path, spec in _parameters(name, network, specs):
        variables.append((f"{key}.adam.exp_avg", _at(adam.mu, path), spec))
        variables.append((f"{key}.adam.exp_avg_sq", _at(adam.nu, path), spec))
    return _to_numpy(variables) | {f"{name}.adam.step": np.array(adam.count[...], np.int64)}


def export_network(name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]) -> Weights:
    """The inverse of `load_network`."""
    return _to_numpy(_tensors(name, network, specs))


def to_native(array: np.ndarray, spec: LayerSpec | None) -> np.ndarray:
    """A parameter of `spec`, or a moment of it, in Flax's axis order; None is of a running statistic."""
    if isinstance(spec, Linear):
        return _channels_last(array, spec)
    return np.ascontiguousarray(array.transpose(_TO_NATIVE)) if array.ndim == 4 else array


def to_canonical(array: np.ndarray, spec: LayerSpec | None) -> np.ndarray:
    """The inverse of `to_native`; a copy, since the step that comes next overwrites its arguments."""
    if isinstance(spec, Linear):
        return _channels_first(array, spec).copy()
    return array.transpose(_TO_CANONICAL).copy() if array.ndim == 4 else array.copy()


_Named = tuple[str, nnx.Variable, LayerSpec | None]


def _tensors(name: str, network: nnx.Module, specs: tuple[LayerSpec, ...]) -> Iterator[_Named]:
    for key, variable in _buffers(name, network, specs):
        yield key, variable, None
    for key, path, spec in _parameters(name, network, specs):
        yield key, _at(network, path), spec


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


def _to_numpy(variables: Iterable[_Named]) -> Weights:
    """Copies on the host, all in one transfer: each by itself would wait for the device."""
    variables = list(variables)
    arrays = jax.device_get([variable[...] for _, variable, _ in variables])
    return {key: to_canonical(array, spec) for (key, _, spec), array in zip(variables, arrays, strict=True)}


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
