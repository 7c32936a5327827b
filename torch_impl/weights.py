"""Native layout <-> canonical weights (common/contract.py). Mirrors jax_impl/weights.py."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.contract import Weights

BATCH_NORM_BUFFERS = ("running_mean", "running_var")


@torch.no_grad()
def load_weights(weights: Weights, name: str, network: nn.Module, optimizer: Adam) -> None:
    """Copy `NAME.*` into one network and its optimizer; names and shapes are checked by the caller.

    Every tensor stays where it is, for a captured graph of the step goes on with what it was captured with.
    """
    load_network(weights, name, network)
    for key, parameter in _parameters(name, network):
        state = optimizer.state[parameter] or _new_state(parameter, optimizer)
        state["step"].fill_(float(weights[f"{name}.adam.step"]))
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment].copy_(torch.from_numpy(weights[f"{key}.adam.{moment}"]))
        optimizer.state[parameter] = state


@torch.no_grad()
def load_network(weights: Weights, name: str, network: nn.Module) -> None:
    """Copy parameters and running statistics alone."""
    for key, tensor in _tensors(name, network):
        tensor.copy_(torch.from_numpy(weights[key]))


def export_weights(name: str, network: nn.Module, optimizer: Adam) -> Weights:
    """The inverse of `load_weights`: copies in canonical axis order, PyTorch's own."""
    tensors = dict(_tensors(name, network))
    for key, parameter in _parameters(name, network):
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{key}.adam.{moment}"] = optimizer.state[parameter][moment]
    steps = torch.stack([state["step"] for state in optimizer.state.values()]).tolist()
    (step,) = {int(step) for step in steps}  # every parameter has its own
    return _to_numpy(tensors) | {f"{name}.adam.step": np.array(step, np.int64)}


def export_network(name: str, network: nn.Module) -> Weights:
    """The inverse of `load_network`."""
    return _to_numpy(dict(_tensors(name, network)))


def _tensors(name: str, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from _buffers(name, network)
    yield from _parameters(name, network)


def _parameters(name: str, network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for key, parameter in network.named_parameters():
        yield f"{name}.layers.{key}", parameter


def _buffers(name: str, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, buffer in network.named_buffers():
        if key.endswith(BATCH_NORM_BUFFERS):
            yield f"{name}.layers.{key}", buffer


def _new_state(parameter: Tensor, optimizer: Adam) -> dict[str, Tensor]:
    # A fused Adam keeps its step count beside the parameter, in float32.
    device = parameter.device if optimizer.defaults["fused"] else torch.device("cpu")
    moments = {moment: torch.empty_like(parameter) for moment in ("exp_avg", "exp_avg_sq")}
    return {"step": torch.zeros((), device=device), **moments}


def _to_numpy(tensors: Mapping[str, Tensor]) -> Weights:
    """Copies on the host, all in one transfer: each by itself would wait for the device."""
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors.values()]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors.values()])
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(tensor.shape) for (name, tensor), part in zip(tensors.items(), parts, strict=True)}
