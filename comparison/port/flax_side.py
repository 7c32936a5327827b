"""A Flax NNX module taken apart: its calls as they happen, each module alone, its gradients. Mirrors torch_side.py.

Calls are seen as `nnx.capture(method_outputs=...)` and `nnx.tabulate` see them: the classes' `__call__` is wrapped
while a run lasts. What is called within `nnx.jit` or `nnx.scan` has no values yet, and is seen as part of its parent.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from common.safe_read import one_line
from comparison.port.arrays import Call, leaves, replaced
from comparison.port.failure import SideError

PATH = "_traced_path"  # an attribute of every module, which nnx.split and nnx.merge carry along


class Function(nnx.Module):
    """A plain function among the layers of an nnx.Sequential, so that it is seen."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class FlaxSide:
    """A copy of the module, in one precision and mode at a time."""

    name = "Flax"

    def __init__(self, module: nnx.Module) -> None:
        self.original = nnx.clone(module)
        self.loaded: dict[str, np.ndarray] = {}  # as exact as they came
        for _, each in list(nnx.iter_modules(self.original)):
            if isinstance(each, nnx.Sequential):
                for index, layer in enumerate(each.layers):
                    if not isinstance(layer, nnx.Module):
                        each.layers[index] = nnx.data(Function(layer))
        for path, each in nnx.iter_modules(self.original):
            if _is_called(type(each)):  # an attribute of nnx.Dict would be one of its items
                setattr(each, PATH, ".".join(map(str, path)))
        switches = [
            getattr(each, name)
            for _, each in nnx.iter_modules(self.original)
            for name in ("deterministic", "use_running_average")
            if isinstance(getattr(each, name, None), bool)
        ]
        self.training = not switches or not all(switches)
        self.module, self._by_path = self.original, _modules(self.original)

    def prepare(self, precision: str, *, training: bool) -> None:
        """Another precision and mode; dropout is switched off, for no two frameworks drop the same."""
        jax.config.update("jax_enable_x64", precision == "float64")
        self.module = nnx.clone(self.original)
        if not training:
            self.module.eval()
        wanted = jnp.float64 if precision == "float64" else jnp.float32
        for each in _modules(self.module).values():
            if hasattr(each, "deterministic"):
                each.deterministic = True
            for name in ("dtype", "param_dtype"):  # a recurrent cell draws its first state in the latter
                if getattr(each, name, None) in (jnp.float32, jnp.float64):
                    setattr(each, name, wanted)
        for name, variable in variables(self.module).items():
            if jnp.issubdtype(variable.dtype, jnp.floating):
                variable.set_value(jnp.asarray(self.loaded.get(name, variable[...]), wanted))
        self._by_path = _modules(self.module)

    def at(self, path: str) -> Any:
        """The module of this path; the whole one has none."""
        return self._by_path[path]

    def paths(self) -> dict[str, nnx.Module]:
        """Every module by its first path, in the order in which it was assigned."""
        found = _modules(self.original)
        return dict(sorted(found.items(), key=lambda item: self._place(item[0])))

    def tensors(self, path: str) -> dict[str, np.ndarray]:
        """The same as NumPy, as they were given."""
        module = _modules(self.original)[path]
        return {name: self.array(variable[...]) for name, variable in variables(module).items()}

    def load(self, tensors: dict[str, np.ndarray]) -> None:
        """Give variables other values, by their path from the whole module, at the next `prepare`."""
        self.loaded |= tensors

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
        calls: list[Call] = []
        pending: list[tuple[Any, Call]] = []
        counts: Counter[str] = Counter()

        def watched(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def call(module: Any, *args: Any, **kwargs: Any) -> Any:
                path = getattr(module, PATH, None)
                if path is None or (pending and pending[-1][0] is module):  # of `super().__call__`
                    return original(module, *args, **kwargs)
                record = Call(path, 0, args, kwargs, before=_statistics(module))
                pending.append((module, record))
                record.outputs = original(module, *args, **kwargs)
                pending.pop()
                record.after = _statistics(module)
                if not any(isinstance(leaf, Tracer) for leaf in leaves((args, kwargs, record.outputs))):
                    record.index = counts[path]
                    counts[path] += 1
                    calls.append(record)
                return record.outputs

            return call

        classes = {type(each) for _, each in nnx.iter_modules(module)}
        with _wrapped(classes, watched), self._failing(calls, pending):
            module(*args, **kwargs)
        return calls

    def alone(
        self, call: Call, *, args: Any = None, kwargs: Any = None, change: Callable[[Any], Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and running statistics of one module fed what it was fed in a call, or something else."""
        module = nnx.clone(self.at(call.path))
        args, kwargs = (call.args if args is None else args), (call.kwargs if kwargs is None else kwargs)
        for name, value in call.before.items():
            getattr(module, name).set_value(value)
        if change:
            change(module)
        with self._failing([], [(module, call)]):
            return module(*args, **kwargs), _statistics(module)

    def pulled_back(
        self, call: Call, args: Any, kwargs: Any, cotangents: Callable[[list[Any]], list[Any]]
    ) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """Gradients of one module's parameters, by path from it, and of each floating array fed to it.

        `cotangents` makes them of the outputs.
        """
        module = nnx.clone(self.at(call.path))
        for name, value in call.before.items():
            getattr(module, name).set_value(value)
        graph, parameters, rest = nnx.split(module, nnx.Param, ...)
        fed = leaves((args, kwargs))
        floating = [_floats(leaf) for leaf in fed]

        def outputs_of(parameters: Any, given: list[Any]) -> list[Any]:
            following = iter(given)
            restored = [next(following) if f else leaf for f, leaf in zip(floating, fed, strict=True)]
            positional, named = replaced((args, kwargs), restored)
            outputs = leaves(nnx.merge(graph, parameters, rest, copy=True)(*positional, **named))
            return [each for each in outputs if _floats(each)]

        outputs, pull_back = jax.vjp(outputs_of, parameters, [leaf for leaf, f in zip(fed, floating, strict=True) if f])
        of_parameters, of_fed = pull_back(cotangents(outputs))
        return _by_path(of_parameters, self.array), [self.array(gradient) for gradient in of_fed]

    def gradients(self, args: Any, kwargs: Any, loss: Callable[[Any], Any]) -> tuple[float, dict[str, np.ndarray]]:
        """The loss, and its gradient for every parameter by path."""
        graph, parameters, rest = nnx.split(self.module, nnx.Param, ...)
        value, found = jax.value_and_grad(
            lambda parameters: loss(nnx.merge(graph, parameters, rest, copy=True)(*args, **kwargs))
        )(parameters)
        return float(value), _by_path(found, self.array)

    def loss_of(self, outputs: Any, loss: Callable[[Any], Any]) -> tuple[float, list[np.ndarray]]:
        """A loss of given outputs, and its gradient for each of them."""
        fed = leaves(outputs)

        def value_of(given: list[Any]) -> Any:
            following = iter(given)
            return loss(replaced(outputs, [next(following) if _floats(each) else each for each in fed]))

        value, found = jax.value_and_grad(value_of)([leaf for leaf in fed if _floats(leaf)])
        return float(value), [self.array(gradient) for gradient in found]

    def _place(self, path: str) -> tuple[int, ...]:
        place, module = [], self.original
        for part in path.split(".") if path else ():
            children = list(vars(module))
            place.append(children.index(part) if part in children else 0)
            module = vars(module).get(part, module)
        return tuple(place)

    @contextmanager
    def _failing(self, calls: list[Call], pending: list[tuple[Any, Call]]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            path = pending[-1][1].path if pending else ""
            where = f"`{path}` ({type(self.at(path)).__name__})" if path else f"module ({type(self.module).__name__})"
            raise SideError(
                f"Flax's {where} fails on its inputs ({type(error).__name__}: {one_line(error)}): "
                "mend it, or pass --inputs that it takes",
                path,
                calls,
            ) from error


def variables(module: nnx.Module) -> dict[str, Any]:
    """Parameters and running statistics at and below a module, by their path from it."""
    found = {}
    for path, each in nnx.iter_modules(module):
        for name, value in vars(each).items():
            if isinstance(value, nnx.Param | nnx.BatchStat):
                found[".".join(map(str, (*path, name)))] = value
    return found


def _modules(module: nnx.Module) -> dict[str, Any]:
    return {".".join(map(str, path)): each for path, each in nnx.iter_modules(module)}


def _is_called(kind: type) -> bool:
    return any("__call__" in vars(base) for base in kind.__mro__)


@contextmanager
def _wrapped(classes: set[type], wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    called = [each for each in classes if _is_called(each)]
    own = {each: vars(each).get("__call__") for each in called}
    originals = {each: each.__call__ for each in called}
    try:
        for each, original in originals.items():
            setattr(each, "__call__", wrapper(original))  # noqa: B010
        yield
    finally:
        for each, original in own.items():
            if original is None:
                delattr(each, "__call__")
            else:
                setattr(each, "__call__", original)  # noqa: B010


def _by_path(state: Any, array: Callable[[Any], np.ndarray]) -> dict[str, np.ndarray]:
    return {".".join(map(str, path)): array(variable[...]) for path, variable in nnx.to_flat_state(state)}


def _floats(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


def _statistics(module: Any) -> dict[str, Any]:
    return {name: value[...] for name, value in vars(module).items() if isinstance(value, nnx.BatchStat)}
