"""The training step in its fastest known form; PyTorch's are in torch_impl/tuned/."""

from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
from flax import nnx
from jax import Array

# XLA's own CPU convolutions beat the YNNPACK ones on most DCGAN shapes (docs/decisions/0003-convolutions-in-jax.md; for
# what it is worth where Winograd's form leaves few, 0013): these are its defaults without INDIVIDUAL_CONVOLUTION. An
# unknown option is an error, so only these jaxlibs get it.
CPU_COMPILER_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}
CPU_COMPILER_OPTIONS_JAXLIB = "0.10."


def compiler_options(platform: str, precision: str) -> dict[str, str]:
    """XLA's options for a step on a CPU. Not in float64, where XLA's own convolutions are 9 times slower."""
    suits = platform == "cpu" and precision != "float64"
    return CPU_COMPILER_OPTIONS if suits and version("jaxlib").startswith(CPU_COMPILER_OPTIONS_JAXLIB) else {}


class FlatSteps:
    """Steps under a plain `jax.jit` over the modules' arrays, flat and donated; called, it updates the modules.

    `nnx.jit` walks the modules before and after every step, which takes milliseconds of Python. Here they are walked
    once a chunk: their structure is known when the step is compiled.
    """

    def __init__(
        self, step: Callable[..., Array], modules: tuple[Any, ...], *, compiler_options: dict[str, str]
    ) -> None:
        self._step = step
        self._modules = modules
        graph, state = nnx.split(modules)
        self._structure = jax.tree.structure(state)
        self.compiled = jax.jit(partial(self._step_leaves, graph), donate_argnums=0, compiler_options=compiler_options)

    def __call__(self, data: Iterable[tuple[Array, ...]]) -> list[Array]:
        leaves = jax.tree.leaves(nnx.state(self._modules))
        results = []
        for of_step in data:
            leaves, result = self.compiled(leaves, *of_step)
            results.append(result)
        nnx.update(self._modules, jax.tree.unflatten(self._structure, leaves))
        return results

    def _step_leaves(self, graph: Any, leaves: list[Array], *data: Array) -> tuple[list[Array], Array]:
        modules = nnx.merge(graph, jax.tree.unflatten(self._structure, leaves))
        result = self._step(*modules, *data)
        return jax.tree.leaves(nnx.state(modules)), result
