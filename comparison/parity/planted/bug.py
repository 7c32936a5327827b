"""A bug that is planted to see which rung catches it: an edit of one twin's source, not a simulation of one."""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# In the order in which they import each other: all are compiled again around an edit.
MODULES = {
    "torch": (
        "chunks",
        "tuned/layers",
        "tuned/steps",
        "tuned/replay",
        "layers",
        "model",
        "losses",
        "steps",
        "weights",
        "trainer",
    ),
    "jax": (
        "tuned/winograd",
        "tuned/convolution",
        "tuned/normalization",
        "conventions",
        "tuned/layers",
        "chunks",
        "tuned/steps",
        "layers",
        "model",
        "losses",
        "optimizer",
        "steps",
        "weights",
        "trainer",
    ),
}


# Who is taken apart imports nothing of these, so its pieces are the same whatever they say.
LEFT_ALONE_BY = {
    "losses": ("layer", "activations"),
    "optimizer": ("layer", "activations", "gradients"),
    "steps": ("layer", "activations", "gradients"),
    "chunks": ("layer", "activations", "gradients"),
    "tuned/steps": ("layer", "activations", "gradients"),
    "tuned/replay": ("layer", "activations", "gradients"),
    "trainer": ("layer",),
}


@dataclass(frozen=True)
class PlantedBug:
    """An edit of one file of one twin; `config` and `execution`, its form, hold that without which it changes nothing.

    `missed_because` says why no rung sees it, of the few that are known to be missed.
    """

    title: str
    framework: str
    module: str
    edits: tuple[tuple[str, str], ...]
    config: dict[str, Any] = field(default_factory=dict)
    missed_because: str = ""
    execution: str = "auto"

    @property
    def location(self) -> str:
        """The edited file."""
        return f"{self.framework}_impl/{self.module}.py"

    @property
    def leaves_alone(self) -> tuple[str, ...]:
        """Results of `Pair.result` that the edited file has no part in."""
        return LEFT_ALONE_BY.get(self.module, ())

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The twin with this bug in it; the original comes back at the end, whatever happens."""
        modules = [
            importlib.import_module(f"{self.framework}_impl.{name.replace('/', '.')}")
            for name in MODULES[self.framework]
        ]
        originals = [dict(vars(module)) for module in modules]
        try:
            for name, module in zip(MODULES[self.framework], modules, strict=True):
                source = inspect.getsource(module)
                code = compile(self.edited(source) if name == self.module else source, inspect.getfile(module), "exec")
                exec(code, vars(module))
            yield
        finally:
            for module, original in zip(modules, originals, strict=True):
                vars(module).clear()
                vars(module).update(original)

    def edited(self, source: str) -> str:
        """The source with the bug; asserts that every edited passage is there exactly once."""
        for before, after in self.edits:
            assert source.count(before) == 1, f"{self.title}: {self.location} holds {before!r} not exactly once"
            source = source.replace(before, after)
        return source


def bug(
    title: str,
    location: str,
    *edits: tuple[str, str],
    missed_because: str = "",
    execution: str = "auto",
    **config: Any,
) -> PlantedBug:
    """One entry of a list: where it is planted, what each passage becomes, and what a run is configured to."""
    framework, module = location.split("/", 1)
    return PlantedBug(title, framework, module, edits, config, missed_because, execution)
