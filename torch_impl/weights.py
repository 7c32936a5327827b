"""Native layout <-> canonical weights (common/contract.py). Mirrors jax_impl/weights.py."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.contract import Weights

BATCH_NORM_BUFFERS = ("running_mean", "running_var")


@torch.no_grad()
def load_weights(weights: Weights, name: str, network: nn.Module, optimizer: Adam) -> None:
    """Copy `NAME.*` into one network and its optimizer; names and shapes are checked by the caller."""
    for key, tensor in _buffers(name, network):
        tensor.copy_(torch.from_numpy(weights[key]))
    for key, parameter in _parameters(name, network):
        parameter.copy_(torch.from_numpy(weights[key]))
        optimizer.state[parameter] = {
            # A fused Adam keeps its step count beside the parameter, in float32.
            "step": torch.tensor(float(weights[f"{name}.adam.step"]), device=_step_device(parameter, optimizer)),
            "exp_avg": torch.empty_like(parameter).copy_(torch.from_numpy(weights[f"{key}.adam.exp_avg"])),
            "exp_avg_sq": torch.empty_like(parameter).copy_(torch.from_numpy(weights[f"{key}.adam.exp_avg_sq"])),
        }


def export_weights(name: str, network: nn.Module, optimizer: Adam, wanted: Callable[[str], bool]) -> Weights:
    """The inverse of `load_weights`: copies of the `wanted` tensors in canonical axis order, PyTorch's own."""
    weights = {key: _to_numpy(tensor) for key, tensor in _tensors(name, network, optimizer) if wanted(key)}
    if wanted(f"{name}.adam.step"):
        (step,) = {int(state["step"]) for state in optimizer.state.values()}  # every parameter has its own
        weights[f"{name}.adam.step"] = np.array(step, np.int64)
    return weights


def _tensors(name: str, network: nn.Module, optimizer: Adam) -> Iterator[tuple[str, Tensor]]:
    yield from _buffers(name, network)
    for key, parameter in _parameters(name, network):
        yield key, parameter
        for moment in ("exp_avg", "exp_avg_sq"):
            yield f"{key}.adam.{moment}", optimizer.state[parameter][moment]


def _parameters(name: str, network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for key, parameter in network.named_parameters():
        yield f"{name}.layers.{key}", parameter


def _buffers(name: str, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, buffer in network.named_buffers():
        if key.endswith(BATCH_NORM_BUFFERS):
            yield f"{name}.layers.{key}", buffer


def _step_device(parameter: Tensor, optimizer: Adam) -> torch.device:
    return parameter.device if optimizer.defaults["fused"] else torch.device("cpu")


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()
