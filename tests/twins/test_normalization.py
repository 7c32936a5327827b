"""The hand-written gradient of BatchNorm is PyTorch's, and its sums are exact enough."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_impl.tuned.normalization import Normalized, normalize

EPSILON = 1e-5


@partial(jax.jit, static_argnums=0)
def normalize_and_pull_back(
    epsilon: float, images: jax.Array, scale: jax.Array, bias: jax.Array, cotangent: jax.Array
) -> tuple[Normalized, tuple[jax.Array, ...]]:
    normalized, pull_back = jax.vjp(lambda *inputs: normalize(*inputs, epsilon), images, scale, bias)
    zeros = jnp.zeros_like(bias)
    return normalized, pull_back(Normalized(cotangent, zeros, zeros))


@given(
    shape=st.sampled_from([(2, 1, 1, 1), (2, 1, 4, 3), (3, 4, 2, 2), (5, 3, 3, 1), (4, 4, 1, 3)]),
    offset=st.integers(-3, 3),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_outputs_statistics_and_gradients_are_those_of_pytorch(shape, offset, seed):
    rng = np.random.default_rng(seed)
    images, cotangent = offset + rng.standard_normal((2, *shape))
    scale, bias = rng.standard_normal((2, shape[-1]))
    with jax.enable_x64():
        normalized, gradients = normalize_and_pull_back(EPSILON, images, scale, bias, cotangent)

    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).requires_grad_()
    module = torch.nn.BatchNorm2d(shape[-1], eps=EPSILON).double()
    module.load_state_dict({"weight": torch.from_numpy(scale), "bias": torch.from_numpy(bias)}, strict=False)
    outputs = module(inputs)
    theirs = torch.autograd.grad(
        outputs, (inputs, *module.parameters()), torch.from_numpy(cotangent).permute(0, 3, 1, 2)
    )
    np.testing.assert_allclose(normalized.images, outputs.detach().permute(0, 2, 3, 1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(normalized.mean, images.mean((0, 1, 2)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(normalized.variance, images.var((0, 1, 2)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradients[0], theirs[0].permute(0, 2, 3, 1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradients[1], theirs[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradients[2], theirs[2], rtol=1e-9, atol=1e-9)


def test_half_precision_images_are_summed_in_float32():
    images = np.random.default_rng(0).normal(1, 0.1, (8, 32, 32, 1))
    rounded = jnp.asarray(images, jnp.bfloat16)
    normalized, pull_back = jax.vjp(lambda images: normalize(images, jnp.ones(1), jnp.zeros(1), EPSILON), rounded)
    exact = np.asarray(rounded, np.float64)
    assert float(normalized.mean[0]) == pytest.approx(exact.mean(), rel=1e-6)
    assert float(normalized.variance[0]) == pytest.approx(exact.var(), rel=1e-5)
    assert normalized.images.dtype == jnp.bfloat16
    (gradient,) = pull_back(Normalized(jnp.ones_like(rounded), jnp.zeros(1), jnp.zeros(1)))
    assert gradient.dtype == jnp.bfloat16
    assert float(jnp.abs(gradient).max()) < 1e-4  # the mean is taken away: what shifts all images changes nothing
