"""Where two computations first part: the answer to "why do my ports differ?".

A difference spreads to everything computed from it, so the largest error is rarely the cause. The cause is the first
result, in the order of execution, that is much further off than what it was computed from.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

AMPLIFICATION = 10.0


class Link(NamedTuple):
    """One result in the order of execution: its error, and the error of what it was computed from."""

    name: str
    error: float
    input_error: float

    def __str__(self) -> str:
        return f"{self.name} ({self.error:.1e}, its input {self.input_error:.1e})"


def first_divergence(links: Iterable[Link], *, tolerance: float) -> Link | None:
    """The first link whose error exceeds the tolerance and ten times its input's error; None if there is none."""
    return next((link for link in links if link.error > max(tolerance, AMPLIFICATION * link.input_error)), None)


def sequence(errors: Mapping[str, float], *, input_error: float = 0.0) -> Iterator[Link]:
    """Layers one after the other: each is computed from the one before it."""
    for name, error in errors.items():
        yield Link(name, error, input_error)
        input_error = error


def accumulation(errors: Mapping[str, float], *, input_error: float = 0.0) -> Iterator[Link]:
    """The tensors of a step: each may depend on all that come before it."""
    for name, error in errors.items():
        yield Link(name, error, input_error)
        input_error = max(input_error, error)
