"""A model as plain Flax NNX reads it, for those who leave: one Orbax checkpoint. Mirrors torch_impl/export.py.

`orbax.checkpoint.StandardCheckpointer().restore(path)`, of an absolute path, gives a dict of five, each for an
`nnx.update(node, nnx.restore_int_paths(part))` of its own:

    generator, discriminator         for an `nnx.Sequential` of the layers: layers/0/kernel, layers/1/mean, ...
    generator_average                the same names as `generator`; the project draws its samples from this one
    generator_optimizer, discriminator_optimizer      for `nnx.Optimizer(network, optax.adam(...), wrt=nnx.Param)`

Axes and names are those of `jax_impl/layers.py`: kernels are (K, K, in, out) of `nnx.Conv`, (K, K, out, in) of
`nnx.ConvTranspose(transpose_kernel=True)`, (in, out) of `nnx.Linear`, which takes an image and gives one, both
flattened with the channels last, as `Linear` there has it. Arrays are NumPy's, so that no device is asked for.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from common.config import TrainConfig
from common.contract import Weights, WeightsError
from common.errors import UserError
from common.networks.layers import Architecture, BatchNorm, Conv, ConvTranspose, LayerSpec, Linear, parameter_shapes
from common.safe_read import one_line
from jax_impl import weights as layout
from jax_impl.weights import BATCH_NORM_BUFFERS, PARAMETERS

CONTENTS = ("generator", "discriminator", "generator_average", "generator_optimizer", "discriminator_optimizer")
# Where nnx.Optimizer keeps what optax.adam remembers: canonical name -> path.
_MOMENTS = {"exp_avg": ("opt_state", "0", "mu"), "exp_avg_sq": ("opt_state", "0", "nu")}
# It counts twice, in two types.
_COUNTERS = {("step",): np.uint32, ("opt_state", "0", "count"): np.int32}

_NativePath = tuple[str, ...]


class _Leaf(NamedTuple):
    """One array's canonical name, and the layer whose parameter it is, whose axes are to be moved."""

    key: str
    spec: LayerSpec | None


def write_export(
    path: Path, weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig
) -> None:
    """Write checked weights and the generator's average to a new path."""
    content = to_native(weights, average, architecture, config)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), content)


def read_export(path: Path, architecture: Architecture) -> tuple[Weights, Weights]:
    """Weights and average, shapes unchecked; an unreadable path raises UserError, a wrong layout WeightsError."""
    logging.disable()  # what Orbax has to say of a foreign folder comes as an exception as well
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            tree = checkpointer.metadata(path.absolute()).item_metadata.tree  # pyright: ignore[reportOptionalMemberAccess]
            # As NumPy arrays, whatever devices they were saved from.
            arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            content = checkpointer.restore(path.absolute(), ocp.args.PyTreeRestore(restore_args=arguments))
    except Exception as error:  # a foreign folder can make the reader fail in any way
        raise UserError(f"{path} cannot be read as an Orbax checkpoint ({one_line(error)})") from None
    finally:
        logging.disable(logging.NOTSET)
    return to_canonical(content, architecture)


def to_native(weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig) -> dict[str, Any]:
    """What the checkpoint holds; Adam's hyperparameters do not travel, optax keeps them in the code."""
    return {
        "generator": _network_state(weights, "generator", architecture),
        "discriminator": _network_state(weights, "discriminator", architecture),
        "generator_average": _network_state(weights | average, "generator", architecture),
        "generator_optimizer": _optimizer_state(weights, "generator", architecture),
        "discriminator_optimizer": _optimizer_state(weights, "discriminator", architecture),
    }


def to_canonical(content: Any, architecture: Architecture) -> tuple[Weights, Weights]:
    """The inverse of `to_native`; what has no place in the layout raises WeightsError that names it."""
    parts = _entries(content, "the checkpoint")
    for name in CONTENTS:
        if name not in parts:
            raise WeightsError(f"{name} is missing: the checkpoint needs {', '.join(CONTENTS)}")
    for name in parts:
        if name not in CONTENTS:
            raise WeightsError(f"{name} is unknown: the checkpoint may hold {', '.join(CONTENTS)}")
    weights: Weights = {}
    for name in ("generator", "discriminator"):
        weights |= _network_weights(parts[name], name, architecture, place=name)
        weights |= _optimizer_weights(parts[f"{name}_optimizer"], name, architecture)
    return weights, _network_weights(parts["generator_average"], "generator", architecture, place="generator_average")


def _network_state(weights: Weights, name: str, architecture: Architecture) -> dict[str, Any]:
    leaves = {**_parameters(name, architecture), **_buffers(name, architecture)}
    return _nested({path: _to_native(weights[leaf.key], leaf) for path, leaf in leaves.items()})


def _network_weights(content: Any, name: str, architecture: Architecture, *, place: str) -> Weights:
    leaves = {**_parameters(name, architecture), **_buffers(name, architecture)}
    return {leaf.key: _to_canonical(array, leaf) for leaf, array in _placed(content, leaves, place)}


def _optimizer_state(weights: Weights, name: str, architecture: Architecture) -> dict[str, Any]:
    state = {path: _to_native(weights[leaf.key], leaf) for path, leaf in _moments(name, architecture).items()}
    state |= {path: weights[f"{name}.adam.step"].astype(dtype) for path, dtype in _COUNTERS.items()}
    return _nested(state)


def _optimizer_weights(content: Any, name: str, architecture: Architecture) -> Weights:
    place = f"{name}_optimizer"
    counters = {path: _Leaf(f"{name}.adam.step", spec=None) for path in _COUNTERS}
    found: Weights = {}
    steps = []
    for leaf, array in _placed(content, counters | _moments(name, architecture), place):
        if leaf.key != f"{name}.adam.step":
            found[leaf.key] = _to_canonical(array, leaf)
        elif array.shape == () and np.issubdtype(array.dtype, np.integer):
            steps.append(int(array))
        else:
            raise WeightsError(f"{leaf.key} of {place} is not a whole number")
    if len(set(steps)) > 1:
        raise WeightsError(f"{name}.adam.step is not the same in both places: {steps}")
    return found | {f"{name}.adam.step": np.array(step, np.int64) for step in steps}


def _parameters(name: str, architecture: Architecture) -> dict[_NativePath, _Leaf]:
    leaves = {}
    for index, spec in enumerate(getattr(architecture, name)):
        for canonical, native in PARAMETERS.get(type(spec), {}).items():
            if canonical in dict(parameter_shapes(spec)):
                leaves["layers", str(index), native] = _Leaf(f"{name}.layers.{index}.{canonical}", spec)
    return leaves


def _buffers(name: str, architecture: Architecture) -> dict[_NativePath, _Leaf]:
    return {
        ("layers", str(index), native): _Leaf(f"{name}.layers.{index}.{canonical}", spec=None)
        for index, spec in enumerate(getattr(architecture, name))
        if isinstance(spec, BatchNorm)
        for canonical, native in BATCH_NORM_BUFFERS.items()
    }


def _moments(name: str, architecture: Architecture) -> dict[_NativePath, _Leaf]:
    return {
        (*moment_path, *path): _Leaf(f"{leaf.key}.adam.{moment}", leaf.spec)
        for moment, moment_path in _MOMENTS.items()
        for path, leaf in _parameters(name, architecture).items()
    }


def _placed(content: Any, leaves: Mapping[_NativePath, _Leaf], place: str) -> Iterator[tuple[_Leaf, np.ndarray]]:
    for path, array in _flat(_entries(content, place)):
        if path not in leaves:
            raise WeightsError(f"{'/'.join((place, *path))} is unknown: no layer or optimizer here has it")
        if not isinstance(array, np.ndarray):
            raise WeightsError(f"{'/'.join((place, *path))} is no array")
        yield leaves[path], array


def _flat(content: Mapping[Any, Any], path: _NativePath = ()) -> Iterator[tuple[_NativePath, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _nested(arrays: Mapping[_NativePath, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = array
    return tree


def _entries(content: Any, name: str) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping):
        raise WeightsError(f"{name} is no dictionary")
    return content


def _to_native(array: np.ndarray, leaf: _Leaf) -> np.ndarray:
    return layout.to_native(array, leaf.spec) if leaf.spec else array


def _to_canonical(array: np.ndarray, leaf: _Leaf) -> np.ndarray:
    spec = leaf.spec
    if isinstance(spec, Linear) and array.shape not in ((spec.in_features, spec.out_features), (spec.out_features,)):
        # Turned round it could fit, with every number in the wrong place.
        raise WeightsError(f"{leaf.key} has shape {array.shape}: a kernel here is (in, out), a bias (out,)")
    if spec is None or (isinstance(spec, Conv | ConvTranspose) and array.ndim not in (1, 4)):
        return array  # one of another rank is refused by its shape
    return layout.to_canonical(array, spec)
