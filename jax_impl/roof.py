"""The multiplication that says what the processor can do at best. Mirrors torch_impl/roof.py."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jax_impl.device import Device

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def matrix_multiplication(device: Device, size: int, precision: str) -> Callable[[], None]:
    """A call that multiplies two square matrices, summing in float32, and returns once that is done."""
    matrices = jax.random.normal(jax.random.key(0), (2, size, size)).astype(PRECISIONS[precision])
    left, right = jax.device_put(matrices[0], device), jax.device_put(matrices[1], device)
    product = jax.jit(lambda left, right: jnp.matmul(left, right, preferred_element_type=jnp.float32))

    def multiply() -> None:
        product(left, right).block_until_ready()

    return multiply
