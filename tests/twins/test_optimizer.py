"""Adam in JAX: its bias correction against exact arithmetic, its state against optax's."""

import math
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_impl.optimizer import adam, bias_correction

LAST_BITS = 4  # of float32 or float64; optax is 100 off in float32


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_the_bias_correction_is_exact_to_its_last_bits(beta, precision):
    jax.config.update("jax_enable_x64", precision == "float64")
    correction = jax.jit(lambda count: bias_correction(beta, count))
    for count in (1, 2, 3, 10, 100, 1_000, 100_000):
        with localcontext(prec=60):
            exact = 1 - Decimal(beta) ** count
            found = correction(jnp.int32(count))
            error = abs(float((Decimal(float(found)) - exact) / exact))
        assert found.dtype == precision
        assert error <= LAST_BITS * np.finfo(precision).eps


def test_optax_s_own_is_still_rounded_to_float32():
    """When this fails, optax is mended: tell the readers, and see whether jax_impl/optimizer.py can go."""
    moment = optax.tree.bias_correction(jnp.ones(1), 0.999, jnp.int32(1))
    assert abs(float(moment[0]) * 0.001 - 1) > 1e-5


def test_a_step_is_optax_s_but_for_that_and_leaves_the_same_state():
    gradients = jnp.array([1e-3, -2.0, 0.0, 1e-9])
    parameters, states = [], []
    for optimizer in (adam(1e-3, beta1=0.5, beta2=0.999), optax.adam(1e-3, 0.5, 0.999)):
        vector: optax.Params = jnp.zeros(4)
        state = optimizer.init(vector)
        for _ in range(3):
            updates, state = optimizer.update(gradients, state, vector)
            vector = optax.apply_updates(vector, updates)
        parameters.append(np.asarray(vector))
        states.append(state)
    ours, theirs = parameters
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert not np.array_equal(ours, theirs)
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    for ours, theirs in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_momentum_the_first_step_is_the_learning_rate():
    optimizer = adam(1e-3, beta1=0.0, beta2=0.999)
    updates, _ = optimizer.update(jnp.array([2.0, -3.0]), optimizer.init(jnp.zeros(2)))
    np.testing.assert_allclose(np.asarray(updates), [-1e-3, 1e-3], rtol=1e-6)
    assert math.isclose(float(bias_correction(0.0, jnp.int32(1))), 1.0)
