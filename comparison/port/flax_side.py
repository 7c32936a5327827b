"""A Flax NNX module taken apart: its calls as they happen, each module alone, its gradients. Mirrors torch_side.py.

Calls are seen as `nnx.capture(method_outputs=...)` and `nnx.tabulate` see them: the classes' `__call__` is wrapped
while a run lasts. What is called within `nnx.jit` or `nnx.scan` has no values yet, and is seen as part of its parent.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from comparison.port.arrays import leaves, mapped, replaced
from comparison.port.side import Call, Change, Cotangents, Gradients, Nudge, Side

PATH = "_traced_path"  # an attribute of every module, which nnx.split and nnx.merge carry along


class Function(nnx.Module):
    """A plain function among the layers of an nnx.Sequential, so that it is seen."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class FlaxSide(Side):
    """A copy of the module, in one precision and mode at a time."""

    name = "Flax"

    def __init__(self, module: nnx.Module) -> None:
        super().__init__()
        self.original = nnx.clone(module)
        self.loaded: dict[str, np.ndarray] = {}  # as exact as they came
        for each in modules(self.original).values():
            if isinstance(each, nnx.Sequential):
                for index, layer in enumerate(each.layers):
                    if not isinstance(layer, nnx.Module):
                        each.layers[index] = nnx.data(Function(layer))
        self.module, self._by_path = self.original, modules(self.original)
        for path, each in self._by_path.items():
            if callable(each):  # an attribute of nnx.Dict would be one of its items
                setattr(each, PATH, path)
        switches = [getattr(each, name, None) for each in self._by_path.values() for name in SWITCHES]
        switches = [switch for switch in switches if isinstance(switch, bool)]
        self.training = not switches or not all(switches)

    def prepare(self, precision: str, *, training: bool) -> None:
        """Another precision and mode; dropout is switched off, for no two frameworks drop the same."""
        jax.config.update("jax_enable_x64", precision == "float64")
        self.module = nnx.clone(self.original)
        if not training:
            self.module.eval()
        self._by_path = modules(self.module)
        wanted = jnp.float64 if precision == "float64" else jnp.float32
        for each in self._by_path.values():
            if hasattr(each, "deterministic"):
                each.deterministic = True
            for name in ("dtype", "param_dtype"):  # a recurrent cell draws its first state in the latter
                if getattr(each, name, None) in (jnp.float32, jnp.float64):
                    setattr(each, name, wanted)
        for name, variable in variables(self.module).items():
            if _floats(variable):
                variable.set_value(jnp.asarray(self.loaded.get(name, variable[...]), wanted))

    def at(self, path: str) -> Any:
        """The module of this path; the whole one has none."""
        return self._by_path[path]

    def paths(self) -> dict[str, nnx.Module]:
        """Every module by its first path, in the order in which it was assigned."""
        return modules(self.original)

    def tensors(self) -> dict[str, np.ndarray]:
        """Parameters and statistics by path, as they were given."""
        return {name: self.array(variable[...]) for name, variable in variables(self.original).items()}

    def array(self, value: Any) -> np.ndarray:
        """As NumPy; bfloat16, which NumPy has not, as float32."""
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype == jnp.bfloat16 else array.copy()

    def native(self, array: np.ndarray) -> jax.Array:
        """A JAX array; floating point in the present precision."""
        floating = jnp.float64 if jax.config.read("jax_enable_x64") else jnp.float32
        return jnp.array(array, floating if np.issubdtype(array.dtype, np.floating) else None)

    def run(self, args: Any, kwargs: Any) -> list[Call]:
        """Every call with what it received and returned, in the order in which they end: the whole module's is last."""
        module = nnx.clone(self.module)
        with self.watching(), ExitStack() as stack:
            for kind in {type(each) for each in self._by_path.values() if callable(each)}:

                def call(each: Any, *args: Any, own: Any = kind.__call__, **kwargs: Any) -> Any:
                    if (path := getattr(each, PATH, None)) is None:  # not of this module
                        return own(each, *args, **kwargs)
                    return self.watched(each, path, lambda *a, **k: own(each, *a, **k), args, kwargs)

                stack.enter_context(patch.object(kind, "__call__", call))
            module(*args, **kwargs)
        return self.calls

    def alone(self, call: Call, change: Change | None = None, nudge: Nudge | None = None) -> tuple[Any, dict[str, Any]]:
        """Outputs and running statistics of one module fed what it was fed in a call, or something near."""
        module, args, kwargs = self._again(call, nudge)
        if change:
            module = change(module) or module
        return module(*args, **kwargs), self.statistics(module)

    def pulled_back(self, call: Call, cotangents: Cotangents, nudge: Nudge | None = None) -> Gradients:
        """Gradients of one module's parameters, by path from it, and of each floating array fed to it."""
        module, args, kwargs = self._again(call, nudge)
        graph, parameters, rest = nnx.split(module, nnx.Param, ...)
        restored, fed = _floating((args, kwargs))

        def outputs_of(parameters: Any, given: list[Any]) -> list[Any]:
            positional, named = restored(given)
            return _floating(nnx.merge(graph, parameters, rest, copy=True)(*positional, **named))[1]

        outputs, pull_back = jax.vjp(outputs_of, parameters, fed)
        given = zip(cotangents([self.array(each) for each in outputs]), outputs, strict=True)
        of_parameters, of_fed = pull_back([jnp.asarray(each, output.dtype) for each, output in given])
        named = {_joined(path): self.array(each[...]) for path, each in nnx.to_flat_state(of_parameters)}
        return named, [self.array(each) for each in of_fed]

    def of_loss(self, outputs: Any, loss: Callable[[Any], Any]) -> tuple[float, list[np.ndarray]]:
        """A loss of given outputs, and its gradient for each of them that is a floating point number."""
        restored, fed = _floating(outputs)
        value, found = jax.value_and_grad(lambda given: loss(restored(given)))(fed)
        return float(value), [self.array(gradient) for gradient in found]

    def has_values(self, call: Call) -> bool:
        """False for what is only traced."""
        return not any(isinstance(leaf, Tracer) for leaf in leaves((call.args, call.kwargs, call.outputs)))

    def statistics(self, module: nnx.Module) -> dict[str, Any]:
        """A module's own running statistics, as they are."""
        return {name: each[...] for name, each in vars(module).items() if isinstance(each, nnx.BatchStat)}

    def _again(self, call: Call, nudge: Nudge | None) -> tuple[Any, Any, Any]:
        """A copy of the module and its inputs as they were before a call, moved by a nudge."""
        module, args, kwargs = nnx.clone(self.at(call.path)), call.args, call.kwargs
        for name, value in call.before.items():
            getattr(module, name).set_value(value)
        if nudge:
            args, kwargs = mapped((args, kwargs), lambda each: self.native(nudge(self.array(each))))
        return module, args, kwargs


SWITCHES = ("deterministic", "use_running_average")


def modules(module: nnx.Module) -> dict[str, Any]:
    """Every module by its first path, in the order in which it was assigned."""
    found = dict(nnx.iter_modules(module))

    def place(path: tuple[Any, ...]) -> list[int]:
        names = [list(vars(found.get(path[:i], module))) for i in range(len(path))]
        parts = zip(path, names, strict=True)
        return [part if isinstance(part, int) else of.index(part) if part in of else 0 for part, of in parts]

    return {_joined(path): found[path] for path in sorted(found, key=place)}


def variables(module: nnx.Module) -> dict[str, Any]:
    """Parameters and running statistics at and below a module, by their path from it."""
    known = nnx.Param | nnx.BatchStat
    return {
        f"{path}.{name}".strip("."): value
        for path, each in modules(module).items()
        for name, value in vars(each).items()
        if isinstance(value, known)
    }


def _joined(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _floats(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


def _floating(thing: Any) -> tuple[Callable[[list[Any]], Any], list[Any]]:
    """The floating arrays of nested ones, and what puts others in their places."""
    every = leaves(thing)

    def restored(given: list[Any]) -> Any:
        following = iter(given)
        return replaced(thing, [next(following) if _floats(each) else each for each in every])

    return restored, [each for each in every if _floats(each)]
