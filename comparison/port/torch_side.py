"""A PyTorch module taken apart: its calls as they happen, each module alone, its gradients. Mirrors flax_side.py."""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from comparison.port.arrays import leaves, mapped, replaced
from comparison.port.side import Call, Change, Cotangents, Gradients, Nudge, Side


class TorchSide(Side):
    """A copy of the module, in one precision and mode at a time."""

    name = "PyTorch"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).cpu()
        self.training, self.dtype = module.training, torch.float32
        self._modes = {each: each.training for each in self.module.modules()}

    def prepare(self, precision: str, *, training: bool) -> None:
        """Another precision and mode; dropout is switched off, for no two frameworks drop the same."""
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.module.to(self.dtype)
        for module, mode in self._modes.items():
            module.training = training and mode and not isinstance(module, nn.modules.dropout._DropoutNd)
            if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
                module.dropout = 0.0

    def at(self, path: str) -> nn.Module:
        """The module of this path; the whole one has none."""
        return self.module.get_submodule(path)

    def paths(self) -> dict[str, nn.Module]:
        """Every module by its first path, in the order of registration."""
        return dict(self.module.named_modules())

    def tensors(self, path: str) -> dict[str, np.ndarray]:
        """Parameters and buffers at and below a module, by their path from it."""
        return {name: self.array(tensor) for name, tensor in self.at(path).state_dict(keep_vars=True).items()}

    def array(self, value: Any) -> np.ndarray:
        """As NumPy; bfloat16, which NumPy has not, as float32."""
        tensor = torch.as_tensor(value).detach()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy().copy()

    def native(self, array: np.ndarray) -> Tensor:
        """A tensor; floating point in the present precision."""
        tensor = torch.tensor(np.ascontiguousarray(array)).reshape(np.shape(array))  # a number would become a list
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def run(self, args: Any, kwargs: Any) -> list[Call]:
        """Every call with what it received and returned, in the order in which they end: the whole module's is last."""
        module = copy.deepcopy(self.module)
        with self.watching(), torch.no_grad(), ExitStack() as stack:
            for path, each in module.named_modules():

                def call(*args: Any, each: Any = each, path: str = path, own: Any = each.forward, **kwargs: Any) -> Any:
                    return self.watched(each, path, own, args, kwargs)

                stack.enter_context(patch.object(each, "forward", call))
            module(*args, **kwargs)
        return self.calls

    def alone(self, call: Call, change: Change | None = None, nudge: Nudge | None = None) -> tuple[Any, dict[str, Any]]:
        """Outputs and running statistics of one module fed what it was fed in a call, or something near."""
        module, args, kwargs = self._again(call, nudge)
        if change:
            module = change(module) or module
        with torch.no_grad():
            return self.kept(module(*args, **kwargs)), self.statistics(module)

    def pulled_back(self, call: Call, cotangents: Cotangents, nudge: Nudge | None = None) -> Gradients:
        """Gradients of one module's parameters, by path from it, and of each floating array fed to it."""
        module, args, kwargs = self._again(call, nudge)
        parameters = {name: each for name, each in module.named_parameters() if each.is_floating_point()}
        fed = _floating((args, kwargs))
        sought = [each.requires_grad_() for each in [*parameters.values(), *fed]]
        args, kwargs = mapped((args, kwargs), Tensor.clone)  # one may be overwritten
        outputs = _floating(module(*args, **kwargs))
        given = [self.native(each) for each in cotangents([self.array(each) for each in outputs])]
        pairs = [(o, c) for o, c in zip(outputs, given, strict=True) if o.requires_grad]
        found = self._gradients([o for o, _ in pairs], sought, [c for _, c in pairs])
        return dict(zip(parameters, found, strict=False)), found[len(parameters) :]

    def of_loss(self, outputs: Any, loss: Callable[[Any], Any]) -> tuple[float, list[np.ndarray]]:
        """A loss of given outputs, and its gradient for each of them that is a floating point number."""
        outputs = self.kept(outputs)
        sought = [each.requires_grad_() for each in _floating(outputs)]
        value = loss(outputs)
        return float(value.detach()), self._gradients([value], sought, None)

    def kept(self, thing: Any) -> Any:
        """Copies; what is one tensor twice stays one."""
        return replaced(thing, [each.detach().clone() for each in leaves(thing)])

    def statistics(self, module: nn.Module) -> dict[str, Tensor]:
        """A module's own floating buffers, as BatchNorm's running mean and variance."""
        buffers = module.named_buffers(recurse=False)
        return {name: tensor.clone() for name, tensor in buffers if tensor.is_floating_point()}

    def _again(self, call: Call, nudge: Nudge | None) -> tuple[Any, Any, Any]:
        """A copy of the module and its inputs as they were before a call, moved by a nudge."""
        module = copy.deepcopy(self.at(call.path))
        args, kwargs = self.kept((call.args, call.kwargs))
        for name, tensor in call.before.items():
            getattr(module, name).copy_(tensor)
        if nudge:
            moved = lambda each: self.native(nudge(self.array(each)))  # noqa: E731
            args, kwargs = mapped((args, kwargs), moved)
            for each in module.parameters():
                each.data = moved(each)
        return module, args, kwargs

    def _gradients(self, outputs: list[Tensor], sought: list[Tensor], cotangents: Any) -> list[np.ndarray]:
        if not outputs or not sought:
            return [np.zeros(tuple(each.shape)) for each in sought]
        found = torch.autograd.grad(outputs, sought, cotangents, allow_unused=True)
        return [self.array(torch.zeros_like(s) if g is None else g) for s, g in zip(sought, found, strict=True)]


def _floating(thing: Any) -> list[Tensor]:
    return [each for each in leaves(thing) if each.is_floating_point()]
