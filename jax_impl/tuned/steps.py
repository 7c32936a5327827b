"""The training step in its fastest known form; PyTorch's are in torch_impl/tuned/."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jax_impl.chunks import images_at, steps_of

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
        self._step_leaves = partial(self._merged_step, graph)
        self.compiled = jax.jit(self._step_leaves, donate_argnums=0, compiler_options=compiler_options)

    def __call__(self, images: Array, *chunk: Array) -> Array:
        """Metrics (4, K) of steps on indices (K, B), latents (K, L, B, Z) and decays (K,)."""
        leaves, results = self._run(jax.tree.leaves(nnx.state(self._modules)), images, *chunk)
        nnx.update(self._modules, jax.tree.unflatten(self._structure, leaves))
        return results

    def _run(self, leaves: list[Array], images: Array, *chunk: Array) -> tuple[list[Array], Array]:
        results = []
        for data in steps_of(images, *chunk):
            leaves, result = self.compiled(leaves, *data)
            results.append(result)
        return leaves, jnp.stack(results, axis=1)

    def _merged_step(self, graph: Any, leaves: list[Array], *data: Array) -> tuple[list[Array], Array]:
        modules = nnx.merge(graph, jax.tree.unflatten(self._structure, leaves))
        result = self._step(*modules, *data)
        return jax.tree.leaves(nnx.state(modules)), result


class FlatChunks(FlatSteps):
    """A whole chunk as one program, whose loop is on the device; PyTorch's is torch_impl/tuned/replay.py.

    The longest chunk so far has a program. A shorter one, as the last of an epoch, goes step by step: a loop of another
    length would have to be compiled. On a CPU, XLA's convolutions are slow within a loop (jax#12868).
    """

    def __init__(
        self, step: Callable[..., Array], modules: tuple[Any, ...], *, compiler_options: dict[str, str]
    ) -> None:
        super().__init__(step, modules, compiler_options=compiler_options)
        self._num_steps = 0
        self.compiled_chunk = jax.jit(self._loop, donate_argnums=0, compiler_options=compiler_options)

    def _run(self, leaves: list[Array], images: Array, *chunk: Array) -> tuple[list[Array], Array]:
        num_steps = len(chunk[0])
        self._num_steps = max(self._num_steps, num_steps)
        run = self.compiled_chunk if num_steps == self._num_steps else super()._run
        return run(leaves, images, *chunk)

    def _loop(self, leaves: list[Array], images: Array, *chunk: Array) -> tuple[list[Array], Array]:
        def body(leaves: list[Array], row: tuple[Array, ...]) -> tuple[list[Array], Array]:
            indices, latents, decay = row
            return self._step_leaves(leaves, images_at(images, indices), latents, decay)

        leaves, results = lax.scan(body, leaves, chunk)
        return leaves, results.T
