"""A model as plain PyTorch reads it, for those who leave: one file of state dicts. Mirrors jax_impl/export.py.

`torch.load(path, weights_only=True)` gives a dict of five, each for a `load_state_dict` of its own:

    generator, discriminator         for an `nn.Sequential` of the layers: "0.weight", "1.running_mean", ...
    generator_average                the same names as `generator`; the project draws its samples from this one
    generator_optimizer, discriminator_optimizer      for `torch.optim.Adam(network.parameters())`

Axes and names are PyTorch's, which are the canonical ones (common/contract.py); an `nn.Linear` takes an image and gives
one, both flattened with the channels first, as `Linear` in torch_impl/layers.py has it. `num_batches_tracked`, which
strict loading asks for and a BatchNorm with a momentum never reads, is the number of updates.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from common.config import TrainConfig
from common.contract import Weights, WeightsError
from common.errors import UserError
from common.networks.build import batch_norms, weight_shapes
from common.networks.layers import Architecture
from common.records.folder import write_atomically
from common.safe_read import one_line
from torch_impl.weights import BATCH_NORM_BUFFERS

CONTENTS = ("generator", "discriminator", "generator_average", "generator_optimizer", "discriminator_optimizer")
_COUNTER = "num_batches_tracked"


def write_export(
    path: Path, weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig
) -> None:
    """Write checked weights and the generator's average to a new path."""
    content = to_native(weights, average, architecture, config)
    file = io.BytesIO()
    torch.save(content, file)
    write_atomically(path, file.getvalue())


def read_export(path: Path, architecture: Architecture) -> tuple[Weights, Weights]:
    """Weights and average, shapes unchecked; an unreadable path raises UserError, a wrong layout WeightsError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # PyTorch's own words for it advise to load the file with weights_only=False, which runs what is in it.
        raise UserError(
            f"{path} is refused: it is no file of torch.save, or it holds objects other than tensors "
            "(save state_dict()s, not modules)"
        ) from None
    except Exception as error:  # a foreign file can make the reader fail in any way
        raise UserError(f"{path} cannot be read as a file of torch.save ({one_line(error)})") from None
    return to_canonical(content, architecture)


def to_native(weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig) -> dict[str, Any]:
    """What the file holds; Adam's hyperparameters travel with its state."""
    learning_rates = {"generator": config.learning_rate_generator, "discriminator": config.learning_rate_discriminator}
    betas = (config.beta1, config.beta2)
    return {
        "generator": _network_state(weights, "generator", architecture),
        "discriminator": _network_state(weights, "discriminator", architecture),
        "generator_average": _network_state(weights | average, "generator", architecture),
        "generator_optimizer": _optimizer_state(
            weights, "generator", architecture, learning_rate=learning_rates["generator"], betas=betas
        ),
        "discriminator_optimizer": _optimizer_state(
            weights, "discriminator", architecture, learning_rate=learning_rates["discriminator"], betas=betas
        ),
    }


def to_canonical(content: Any, architecture: Architecture) -> tuple[Weights, Weights]:
    """The inverse of `to_native`; what has no place in the layout raises WeightsError that names it."""
    parts = _entries(content, "the file")
    for name in CONTENTS:
        if name not in parts:
            raise WeightsError(f"{name} is missing: the file needs {', '.join(CONTENTS)}")
    for name in parts:
        if name not in CONTENTS:
            raise WeightsError(f"{name} is unknown: the file may hold {', '.join(CONTENTS)}")
    weights: Weights = {}
    for name in ("generator", "discriminator"):
        weights |= _network_weights(parts[name], name, architecture, place=name)
        weights |= _optimizer_weights(parts[f"{name}_optimizer"], name, architecture)
    return weights, _network_weights(parts["generator_average"], "generator", architecture, place="generator_average")


def _network_state(weights: Weights, name: str, architecture: Architecture) -> dict[str, Tensor]:
    norms = [norm for norm in batch_norms(architecture) if norm.startswith(f"{name}.")]
    keys = _parameters(name, architecture) + [f"{norm}.{buffer}" for norm in norms for buffer in BATCH_NORM_BUFFERS]
    state = {key: _to_native(weights[key]) for key in keys}
    state |= {f"{norm}.{_COUNTER}": torch.tensor(int(weights[f"{name}.adam.step"])) for norm in norms}
    return {key.removeprefix(f"{name}.layers."): tensor for key, tensor in state.items()}


def _network_weights(content: Any, name: str, architecture: Architecture, *, place: str) -> Weights:
    state = {f"{name}.layers.{key}": value for key, value in _entries(content, place).items()}
    for norm in batch_norms(architecture):
        if norm.startswith(f"{name}."):
            counter = state.pop(f"{norm}.{_COUNTER}", None)
            if not isinstance(counter, Tensor) or counter.shape != ():
                raise WeightsError(f"{norm}.{_COUNTER} of {place} is missing, or not a tensor of one number")
    return {key: _to_canonical(tensor, f"{key} of {place}") for key, tensor in state.items()}


def _optimizer_state(
    weights: Weights, name: str, architecture: Architecture, *, learning_rate: float, betas: tuple[float, float]
) -> dict[str, Any]:
    keys = _parameters(name, architecture)
    parameters = [_to_native(weights[key]) for key in keys]
    # PyTorch's defaults: whoever loads it decides whether the update is fused.
    optimizer = Adam(parameters, learning_rate, betas)
    for key, parameter in zip(keys, parameters, strict=True):
        optimizer.state[parameter] = {
            "step": torch.tensor(float(weights[f"{name}.adam.step"]), dtype=torch.float32),  # as Adam itself keeps it
            "exp_avg": _to_native(weights[f"{key}.adam.exp_avg"]),
            "exp_avg_sq": _to_native(weights[f"{key}.adam.exp_avg_sq"]),
        }
    return optimizer.state_dict()


def _optimizer_weights(content: Any, name: str, architecture: Architecture) -> Weights:
    place = f"{name}_optimizer"
    parts = _entries(content, place)
    if set(parts) != {"state", "param_groups"}:
        raise WeightsError(f"{place} is not the state_dict() of a torch.optim.Adam")
    keys = _parameters(name, architecture)
    order = [index for group in parts["param_groups"] for index in _entries(group, place).get("params", ())]
    state = _entries(parts["state"], place)
    if len(order) != len(keys) or not set(state) <= set(order):
        raise WeightsError(f"{place} is of {max(len(order), len(state))} parameters, but {name} has {len(keys)}")
    found: Weights = {}
    steps = set()
    for key, index in zip(keys, order, strict=True):
        for entry, value in _entries(state.get(index, {}), place).items():
            if entry == "step":
                steps.add(_whole_number(value, f"{key}.adam.step of {place}"))
            else:
                found[f"{key}.adam.{entry}"] = _to_canonical(value, f"{key}.adam.{entry} of {place}")
    if len(steps) > 1:
        raise WeightsError(f"{name}.adam.step is not the same for every parameter: {sorted(steps)}")
    return found | {f"{name}.adam.step": np.array(step, np.int64) for step in steps}


def _parameters(name: str, architecture: Architecture) -> list[str]:
    """In the order of `network.parameters()`: by layer, and each layer's weight before its bias."""
    return [key for key in weight_shapes(architecture) if key.startswith(f"{name}.")]


def _entries(content: Any, name: str) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping):
        raise WeightsError(f"{name} is no dictionary")
    return content


def _whole_number(value: Any, name: str) -> int:
    # Before PyTorch 1.12 Adam counted in plain integers.
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if not isinstance(number, int | float) or number != number // 1:
        raise WeightsError(f"{name} is not a whole number")
    return int(number)


def _to_native(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())


def _to_canonical(tensor: Any, name: str) -> np.ndarray:
    if not isinstance(tensor, Tensor):
        raise WeightsError(f"{name} is no tensor")
    try:
        return tensor.detach().contiguous().numpy().copy()
    except (TypeError, RuntimeError):  # bfloat16, sparse, quantised, ...
        raise WeightsError(f"{name} is {tensor.dtype} ({tensor.layout}), which NumPy has no array for") from None
