"""What the two sides have in common: calls are watched from outside, and a failure names the innermost module."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import UserError
from common.safe_read import one_line
from comparison.port.arrays import leaves

Change = Callable[[Any], Any]
Nudge = Callable[[np.ndarray], np.ndarray]
Cotangents = Callable[[list[np.ndarray]], list[np.ndarray]]  # made of the outputs
Gradients = tuple[dict[str, np.ndarray], list[np.ndarray]]  # of parameters by path, and of what was fed


@dataclass
class Call:
    """One call of one module, with its own framework's arrays; `before` and `after` are its running statistics."""

    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    index: int = 0  # how often it was called before
    outputs: Any = None
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


@dataclass
class Finding:
    """Something that differs, or was looked at, and all that was found out about it; fields are the JSON's names."""

    stage: str  # inputs, weights, forward or gradients
    torch: str
    flax: str
    measured: float
    explained_by_rounding: float
    what: str
    likely_cause: str | None = None
    readings: list[str] = field(default_factory=list)
    allowed: float = 0.0

    @property
    def fails(self) -> bool:
        return not self.measured <= self.allowed


class SideError(UserError):
    """A person's module raised; `calls` are those that had ended."""

    def __init__(self, message: str, calls: list[Call]) -> None:
        super().__init__(message)
        self.calls = calls


class Side:
    """A copy of one framework's module, in one precision and mode at a time."""

    name: str
    training: bool
    at: Callable[[str], Any]
    array: Callable[[Any], np.ndarray]
    statistics: Callable[[Any], dict[str, Any]]

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._pending: list[tuple[Any, Call]] = []
        self._counts: Counter[str] = Counter()

    def arrays(self, thing: Any) -> list[np.ndarray]:
        """Every array of nested inputs or outputs, as NumPy."""
        return [self.array(leaf) for leaf in leaves(thing)]

    def said(self, path: str) -> str:
        """A module in words."""
        kind = type(self.at(path)).__name__
        return f"{self.name}'s `{path}` ({kind})" if path else f"{self.name}'s module ({kind})"

    def watched(self, module: Any, path: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls a module's own function, and notes what it received and returned when it ends."""
        if self._pending and self._pending[-1][0] is module:  # of `super().__call__`
            return function(*args, **kwargs)
        args_then, kwargs_then = self.kept((args, kwargs))
        call = Call(path, args_then, kwargs_then, before=self.statistics(module))
        self._pending.append((module, call))
        outputs = function(*args, **kwargs)
        self._pending.pop()
        call.outputs, call.after = self.kept(outputs), self.statistics(module)
        if self.has_values(call):
            call.index = self._counts[path]
            self._counts[path] += 1
            self.calls.append(call)
        return outputs

    def kept(self, thing: Any) -> Any:
        """What a later step in place does not reach."""
        return thing

    def has_values(self, call: Call) -> bool:
        """False for what is only traced."""
        return True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Calls are noted from here on; what fails raises SideError."""
        self.calls, self._pending, self._counts = [], [], Counter()
        try:
            yield
        except Exception as error:
            where, why = self.said(self._pending[-1][1].path if self._pending else ""), one_line(error)
            why = f"{where} fails on its inputs ({type(error).__name__}: {why})"
            raise SideError(f"{why}: mend it, or pass --inputs that it takes", self.calls) from error
