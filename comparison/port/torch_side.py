"""A PyTorch module taken apart: its calls as they happen, each module alone, its gradients. Mirrors flax_side.py."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from common.safe_read import one_line
from comparison.port.arrays import Call, leaves, mapped, replaced
from comparison.port.failure import SideError

Nudge = Callable[[np.ndarray], np.ndarray]


class TorchSide:
    """A copy of the module, in one precision and mode at a time."""

    name = "PyTorch"

    def __init__(self, module: nn.Module) -> None:
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

    def array(self, tensor: Any) -> np.ndarray:
        """As NumPy; bfloat16, which NumPy has not, as float32."""
        tensor = torch.as_tensor(tensor).detach()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy().copy()

    def native(self, array: np.ndarray) -> Tensor:
        """A tensor; floating point in the present precision."""
        tensor = torch.tensor(np.ascontiguousarray(array))
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def run(self, args: Any, kwargs: Any, *, nudge: Nudge | None = None) -> list[Call]:
        """Every call with what it received and returned, in the order in which they end: the whole module's is last."""
        paths = {module: path for path, module in self.module.named_modules()}
        calls: list[Call] = []
        pending: list[Call] = []
        counts: Counter[str] = Counter()

        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            received = _kept((args, kwargs))
            path = paths[module]
            pending.append(Call(path, counts[path], *received, before=_statistics(module)))
            counts[path] += 1

        def leave(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            call = pending.pop()
            call.outputs, call.after = _kept(outputs), _statistics(module)
            calls.append(call)

        handles = []
        for module in paths:
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        try:
            with torch.no_grad(), _no_fast_path(), self._failing(calls, pending):
                self._called(self.module, args, kwargs, {}, nudge)
        finally:
            for handle in handles:
                handle.remove()
        return calls

    def alone(
        self, call: Call, *, args: Any = None, kwargs: Any = None, nudge: Nudge | None = None, module: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and running statistics of one module fed what it was fed in a call, or something else."""
        module = self.at(call.path) if module is None else module
        args, kwargs = (call.args if args is None else args), (call.kwargs if kwargs is None else kwargs)
        with torch.no_grad(), _no_fast_path(), self._failing([], [call]):
            return self._called(module, args, kwargs, call.before, nudge)

    def pulled_back(
        self, call: Call, cotangents: list[np.ndarray], *, nudge: Nudge | None = None
    ) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """Gradients of one module's parameters, by path from it, and of each array fed to it, for given cotangents."""
        module = self.at(call.path)
        fed = [self._leaf(each, nudge) for each in leaves((call.args, call.kwargs))]
        args, kwargs = replaced((call.args, call.kwargs), [leaf.clone() for leaf in fed])  # one may be overwritten
        parameters = {name: self._leaf(each, nudge) for name, each in module.named_parameters()}
        buffers = {name: each.clone() for name, each in [*module.named_buffers(), *call.before.items()]}
        with _no_fast_path():
            outputs = leaves(functional_call(module, {**parameters, **buffers}, args, kwargs))
        sought = [*parameters.values(), *(leaf for leaf in fed if leaf.requires_grad)]
        pairs = [(o, self.native(c)) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
        if not pairs or not sought:
            return {}, []
        found = torch.autograd.grad([o for o, _ in pairs], sought, [c for _, c in pairs], allow_unused=True)
        gradients = [self.array(torch.zeros_like(s) if g is None else g) for s, g in zip(sought, found, strict=True)]
        of_fed = iter(gradients[len(parameters) :])
        of_inputs = [next(of_fed) if leaf.requires_grad else np.zeros(leaf.shape) for leaf in fed]
        return dict(zip(parameters, gradients, strict=False)), of_inputs

    def gradients(
        self, args: Any, kwargs: Any, loss: Callable[[Any], Any], *, nudge: Nudge | None = None
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The loss, and its gradient for every parameter by path."""
        parameters = {name: self._leaf(each, nudge) for name, each in self.module.named_parameters()}
        buffers = {name: each.clone() for name, each in self.module.named_buffers()}
        args, kwargs = mapped((args, kwargs), lambda each: self.native(_nudged(each, nudge)))
        with _no_fast_path():
            value = loss(functional_call(self.module, {**parameters, **buffers}, args, kwargs))
        found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        zero_where_unused = {
            name: np.zeros(tuple(p.shape)) if g is None else self.array(g)
            for (name, p), g in zip(parameters.items(), found, strict=True)
        }
        return float(value.detach()), zero_where_unused

    def loss_of(self, outputs: Any, loss: Callable[[Any], Any]) -> tuple[float, list[np.ndarray]]:
        """A loss of given outputs, and its gradient for each of them."""
        fed = [self._leaf(each, None) for each in leaves(outputs)]
        value = loss(replaced(outputs, fed))
        found = torch.autograd.grad(value, [leaf for leaf in fed if leaf.requires_grad], allow_unused=True)
        return float(value.detach()), [np.zeros(1) if gradient is None else self.array(gradient) for gradient in found]

    def _leaf(self, tensor: Tensor, nudge: Nudge | None) -> Tensor:
        """A copy that gradients are taken for, if it is a floating point number."""
        leaf = self.native(_nudged(self.array(tensor), nudge))
        return leaf.requires_grad_(leaf.is_floating_point())

    def _called(
        self, module: nn.Module, args: Any, kwargs: Any, before: dict[str, Tensor], nudge: Nudge | None
    ) -> tuple[Any, dict[str, Any]]:
        parameters = {name: tensor.detach().clone() for name, tensor in module.named_parameters()}
        if nudge:
            parameters = {name: self.native(nudge(self.array(tensor))) for name, tensor in parameters.items()}
        state = parameters | {name: tensor.clone() for name, tensor in [*module.named_buffers(), *before.items()]}
        args, kwargs = mapped(
            (args, kwargs), lambda each: self.native(_nudged(self.array(each), nudge)) if nudge else _copied(self, each)
        )
        outputs = functional_call(module, state, args, kwargs, strict=False)
        return _kept(outputs), {name: state[name] for name in before}

    @contextmanager
    def _failing(self, calls: list[Call], pending: list[Call]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            path = pending[-1].path if pending else ""
            where = f"`{path}` ({type(self.at(path)).__name__})" if path else f"module ({type(self.module).__name__})"
            raise SideError(
                f"PyTorch's {where} fails on its inputs ({type(error).__name__}: {one_line(error)}): "
                "mend it, or pass --inputs that it takes",
                path,
                calls,
            ) from error


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """A fused encoder layer calls none of its modules."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def _kept(thing: Any) -> Any:
    """Copies that a later step in place does not reach; what is one tensor twice stays one."""
    known: dict[int, Tensor] = {}
    return mapped(thing, lambda each: known.setdefault(id(each), each.detach().clone()))


def _copied(side: TorchSide, each: Any) -> Tensor:
    return each.clone() if isinstance(each, Tensor) else side.native(each)


def _nudged(array: np.ndarray, nudge: Nudge | None) -> np.ndarray:
    return nudge(array) if nudge else array


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    """A module's own floating buffers, as BatchNorm's running mean and variance."""
    return {
        name: tensor.detach().clone()
        for name, tensor in module.named_buffers(recurse=False)
        if tensor.is_floating_point()
    }
