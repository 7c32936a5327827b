"""JAX's hand-written convolutions are torch's, in value and in both gradients, for every shape they may meet."""

import re

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_impl.tuned import convolution, winograd

SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "size": st.integers(1, 11),
        "large_channels": st.sampled_from([1, 3, 8, 9]),
        "small_channels": st.sampled_from([1, 2, 5]),
        "kernel_size": st.integers(1, 7),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 2),
    }
)
# The forms of `up` for k4 s2 p1, which a draw could miss: by matrix multiply, and by Winograd's products.
BY_MATMUL = {"one channel": (16, 1), "three channels": (8, 3), "odd map": (7, 16)}
BY_WINOGRAD = {"one tile": (2, 16), "four channels": (8, 4), "small map": (4, 16), "wide map": (8, 16)}
FORMS = BY_MATMUL | BY_WINOGRAD
# Of 16x16 images, which have 16 tiles each: the kernel gradient sums over fewer rows than MIN_ROWS_TO_FLATTEN, or not.
SHORT_BATCH, LONG_BATCH = 127, 128


def form(stride, padding, dtype):
    return convolution.ConvolutionForm(stride, padding, dtype, platform="cpu")


def operands(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape) for shape in shapes]


def check_down(batch, size, large_channels, small_channels, kernel_size, stride, padding):
    out_size = (size + 2 * padding - kernel_size) // stride + 1
    images, kernel, cotangent = operands(
        0,
        (batch, size, size, large_channels),
        (kernel_size, kernel_size, large_channels, small_channels),
        (batch, out_size, out_size, small_channels),
    )
    compare(
        lambda x, k: convolution.down(x, k, form(stride, padding, np.float64)),
        lambda x, k: F.conv2d(x, k, stride=stride, padding=padding),
        images,
        kernel,
        cotangent,
    )


def check_up(batch, size, large_channels, small_channels, kernel_size, stride, padding):
    out_size = (size - 1) * stride - 2 * padding + kernel_size
    maps, kernel, cotangent = operands(
        1,
        (batch, size, size, small_channels),
        (kernel_size, kernel_size, large_channels, small_channels),
        (batch, out_size, out_size, large_channels),
    )
    compare(
        lambda x, k: convolution.up(x, k, form(stride, padding, np.float64)),
        lambda x, k: F.conv_transpose2d(x, k, stride=stride, padding=padding),
        maps,
        kernel,
        cotangent,
    )


def value_and_gradients(function, inputs, kernel, cotangent):
    outputs, pull_back = jax.vjp(function, inputs, kernel)
    return outputs, *pull_back(cotangent)


def compare(jax_function, torch_function, inputs, kernel, cotangent):
    """Value, input gradient and kernel gradient of both, in float64; torch sees NCHW and (small, large, K, K)."""
    jax.config.update("jax_enable_x64", True)
    jax_results = jax.jit(value_and_gradients, static_argnums=0)(jax_function, inputs, kernel, cotangent)
    torch_inputs = torch.tensor(inputs.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    torch_kernel = torch.tensor(kernel.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    torch_outputs = torch_function(torch_inputs, torch_kernel)
    gradients = torch.autograd.grad(
        torch_outputs, (torch_inputs, torch_kernel), torch.tensor(cotangent.transpose(0, 3, 1, 2).copy())
    )
    torch_results = [
        torch_outputs.detach().numpy().transpose(0, 2, 3, 1),
        gradients[0].numpy().transpose(0, 2, 3, 1),
        gradients[1].numpy().transpose(2, 3, 1, 0),
    ]
    for name, ours, theirs in zip(
        ("value", "input gradient", "kernel gradient"), jax_results, torch_results, strict=True
    ):
        assert ours.shape == theirs.shape, name
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11, err_msg=name)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(SHAPES.filter(lambda s: s["padding"] < s["kernel_size"] <= s["size"] + 2 * s["padding"]))
def test_down_is_torchs_convolution(shape):
    check_down(**shape)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(SHAPES.filter(lambda s: s["padding"] < s["kernel_size"] and s["size"] > 2 * s["padding"]))
def test_up_is_torchs_transposed_convolution(shape):
    check_up(**shape)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_doubling_transposed_convolution_is_torchs(form):
    size, large_channels = FORMS[form]
    check_up(2, size, large_channels, 3, 4, 2, 1)
    check_down(2, 2 * size, large_channels, 3, 4, 2, 1)


@pytest.mark.parametrize("batch", [SHORT_BATCH, LONG_BATCH, LONG_BATCH + 1])
def test_a_kernel_gradient_is_torchs_whether_its_sum_is_short_or_long(batch):
    check_down(batch, 16, 4, 3, 4, 2, 1)


def test_a_kernel_gradient_with_a_long_sum_copies_no_tiles():
    assert num_products_without_a_copy(SHORT_BATCH, np.float32) == 0
    assert num_products_without_a_copy(LONG_BATCH, np.float32) == 9
    assert num_products_without_a_copy(LONG_BATCH, jax.numpy.bfloat16) == 0


def num_products_without_a_copy(batch, dtype):
    """Of a compiled kernel gradient, products that sum over the rows of their left tiles; others transpose a copy."""
    arrays = [array.astype(np.float32) for array in operands(3, (batch, 16, 16, 4), (batch, 8, 8, 3))]
    compiled = winograd.kernel_gradient.lower(*arrays, dtype).compile().as_text()
    assert compiled is not None
    return len(re.findall(r" dot\(.*lhs_contracting_dims=\{0\}", compiled))


@pytest.mark.parametrize("form", BY_MATMUL)
def test_bfloat16_is_a_rounding_of_the_operands_of_each_product(form):
    arrays = operands_of_up(form)
    rounded = [jax.lax.reduce_precision(array, 8, 7) for array in arrays]
    found, expected = results_of_up(jax.numpy.bfloat16, *arrays), results_of_up(np.float32, *rounded)
    unrounded = results_of_up(np.float32, *arrays)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    assert np.abs(found[0] - unrounded[0]).max() > 1e-3


@pytest.mark.parametrize("form", BY_WINOGRAD)
def test_bfloat16_by_winograd_is_a_rounding_of_what_each_of_its_products_multiplies(form, monkeypatch):
    arrays = operands_of_up(form)
    found = results_of_up(jax.numpy.bfloat16, *arrays)
    product = winograd.product

    def of_rounded(subscripts, left, right, dtype):
        left, right = (jax.lax.reduce_precision(array, 8, 7) for array in (left, right))
        return product(subscripts, left, right, dtype)

    monkeypatch.setattr(winograd, "product", of_rounded)
    jax.clear_caches()  # they hold what was traced with the other product
    for ours, theirs in zip(found, results_of_up(np.float32, *arrays), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    monkeypatch.setattr(winograd, "product", product)
    jax.clear_caches()
    exact = results_of_up(np.float32, *arrays)
    for ours, truth in zip(found, exact, strict=True):
        assert 1e-3 < np.linalg.norm(ours - truth) / np.linalg.norm(truth) < 1e-2


def operands_of_up(form):
    size, channels = FORMS[form]
    shapes = (2, size, size, 3), (4, 4, channels, 3), (2, 2 * size, 2 * size, channels)
    return [array.astype(np.float32) for array in operands(2, *shapes)]


def results_of_up(dtype, *arrays):
    return value_and_gradients(lambda maps, kernel: convolution.up(maps, kernel, form(2, 1, dtype)), *arrays)


@pytest.mark.parametrize(("dtype", "name"), [(np.float32, "f32"), (jax.numpy.bfloat16, "bf16")])
@pytest.mark.parametrize("form", FORMS)
def test_winograds_products_are_used_where_they_fit_in_the_precision_that_is_asked_for(form, dtype, name):
    up = jax.jit(lambda *arrays: results_of_up(dtype, *arrays)).lower(*operands_of_up(form))
    products = re.findall(
        r"dot_general.*tensor<[\dx]*(\w+)>, tensor<[\dx]*(\w+)>\) -> tensor<[\dx]*(\w+)>", up.as_text()
    )
    assert products == [(name, name, "f32")] * (3 * 9 if form in BY_WINOGRAD else 1)  # the others are convolutions


def test_the_form_is_that_of_the_platform_that_was_handed_down():
    maps, kernel, _ = operands_of_up("wide map")
    used = {}
    for platform in ("cpu", "gpu"):
        form_there = convolution.ConvolutionForm(2, 1, np.float32, platform)
        jaxpr = str(jax.make_jaxpr(lambda *arrays, form=form_there: convolution.up(*arrays, form))(maps, kernel))
        used[platform] = "conv_general_dilated" in jaxpr
    assert used == {"cpu": False, "gpu": True}


def test_odd_sizes_of_the_seed_documents_are_torch_s():
    check_down(2, 7, 9, 5, 4, 2, 1)  # seeds 003 and 004: 7 -> 3, one row that no output reaches
    check_down(2, 9, 16, 3, 4, 2, 1)  # 9 -> 4, which looks like 8 -> 4 from the other side
    check_down(2, 3, 5, 1, 4, 2, 1)  # seed 003's head: a kernel larger than its image
    check_down(2, 8, 1, 3, 1, 1, 0)
    check_up(2, 7, 2, 3, 6, 3, 1)  # another stride and kernel, by matrix multiply


def test_a_crop_by_padding_beyond_the_kernel_is_torchs():
    check_up(2, 8, 1, 3, 1, 1, 2)  # seed 003's last layer: 1x1, padding 2
