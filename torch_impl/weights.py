"""Native layout <-> canonical weights (common/contract.py). Mirrors jax_impl/weights.py."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.contract import Weights
from common.networks.layers import BatchNorm, LayerSpec

BATCH_NORM_BUFFERS = ("running_mean", "running_var")


@torch.no_grad()
def load_weights(
    weights: Weights, name: str, network: nn.Module, specs: tuple[LayerSpec, ...], optimizer: Adam
) -> None:
    """Copy `NAME.*` into one network and its optimizer; names and shapes are checked by the caller."""
    for key, tensor in _buffers(name, network, specs):
        tensor.copy_(torch.from_numpy(weights[key]))
    for key, parameter in _parameters(name, network):
        parameter.copy_(torch.from_numpy(weights[key]))
        optimizer.state[parameter] = {
            # A fused Adam keeps its step count beside the parameter, in float32.
            "step": torch.tensor(float(weights[f"{name}.adam.step"]), device=_step_device(parameter, optimizer)),
            "exp_avg": torch.empty_like(parameter).copy_(torch.from_numpy(weights[f"{key}.adam.exp_avg"])),
            "exp_avg_sq": torch.empty_like(parameter).copy_(torch.from_numpy(weights[f"{key}.adam.exp_avg_sq"])),
        }


def export_weights(name: str, network: nn.Module, specs: tuple[LayerSpec, ...], optimizer: Adam | None) -> Weights:
    """The inverse of `load_weights`: copies in canonical axis order, PyTorch's own; without optimizer, no moments."""
    weights = {key: _to_numpy(tensor) for key, tensor in _buffers(name, network, specs)}
    steps = set()
    for key, parameter in _parameters(name, network):
        weights[key] = _to_numpy(parameter)
        if optimizer is None:
            continue
        state = optimizer.state[parameter]
        weights[f"{key}.adam.exp_avg"] = _to_numpy(state["exp_avg"])
        weights[f"{key}.adam.exp_avg_sq"] = _to_numpy(state["exp_avg_sq"])
        steps.add(int(state["step"]))
    if optimizer is not None:
        assert len(steps) == 1, f"{name}'s parameters were updated {steps} times"
        weights[f"{name}.adam.step"] = np.array(steps.pop(), np.int64)
    return weights


def _parameters(name: str, network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for key, parameter in network.named_parameters():
        yield f"{name}.{key}", parameter


def _buffers(name: str, network: nn.Module, specs: tuple[LayerSpec, ...]) -> Iterator[tuple[str, Tensor]]:
    for index, spec in enumerate(specs):
        if isinstance(spec, BatchNorm):
            for buffer in BATCH_NORM_BUFFERS:
                yield f"{name}.layers.{index}.{buffer}", network.get_buffer(f"layers.{index}.{buffer}")


def _step_device(parameter: Tensor, optimizer: Adam) -> torch.device:
    return parameter.device if optimizer.defaults["fused"] else torch.device("cpu")


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()
