"""Square convolution and its transpose, each with hand-written gradients that stay on XLA's fast paths.

XLA:CPU runs the kernel gradient of a strided transposed convolution, as autodiff writes it, in an unoptimised loop
nest 60 times slower than its other convolutions (jax#31662, xla#34273). Here the two operations are each other's
gradients, and the kernel gradient is a dilated convolution in the canonical layout, which XLA does well. On a CPU
`jax_impl/tuned/winograd.py` computes all three where it can.

Images are NHWC. Both directions take the kernel of the convolution: (K, K, C, D), C channels on its larger side
(`images`), D on its smaller one (`maps`). No forward-mode or second derivatives: a custom VJP has none.
"""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from jax_impl.tuned import winograd
from jax_impl.tuned.winograd import product

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# An image has fewer: too few products to pay for Winograd's transforms (docs/decisions/0013). The other layers of a
# test's narrow networks have as many, so that they are computed in the same form as those of wide ones.
MIN_CHANNELS_FOR_WINOGRAD = 4


class ConvolutionForm(NamedTuple):
    """What a convolution is told beside its arrays."""

    stride: int
    padding: int
    dtype: DTypeLike  # of the operands of every product; arrays are held, and sums are taken, in their own
    platform: str


def _down(images: Array, kernel: Array, form: ConvolutionForm) -> Array:
    """Strided convolution of images (N, H, H, C) with kernel (K, K, C, D) to (N, h, h, D)."""
    kernel_size, padding = kernel.shape[0], form.padding
    if _map_size(images.shape[1], kernel_size, form) == 1:
        return product("nhwc,hwcd->nd", _padded(images, padding, kernel_size), kernel, form.dtype)[:, None, None]
    if _winograd_pays(images.shape[1], images.shape[3], kernel_size, form):
        return winograd.down(images, kernel, form.dtype)
    return _convolution(images, kernel, form, stride=form.stride, padding=[(padding, padding)] * 2)


def _up(maps: Array, kernel: Array, form: ConvolutionForm) -> Array:
    """Transpose of `_down`: maps (N, h, h, D) with the same kernel (K, K, C, D) to (N, H, H, C)."""
    return _up_to_size(maps, kernel, form, spare=0)


def _up_to_size(maps: Array, kernel: Array, form: ConvolutionForm, *, spare: int) -> Array:
    """`_up` to images that had so many spare rows: an odd size, say 7 -> 3, has one that no output reached."""
    size, kernel_size, out_channels = maps.shape[1], kernel.shape[0], kernel.shape[2]
    if size == 1:
        return _cropped(product("nd,hwcd->nhwc", maps[:, 0, 0], kernel, form.dtype), form.padding, spare)
    if spare == 0 and _winograd_pays(2 * size, out_channels, kernel_size, form):
        return winograd.up(maps, kernel, form.dtype)
    if kernel_size % form.stride == 0 and form.stride > 1 and form.platform == "cpu":
        return _up_by_matmul(maps, kernel, form, spare)
    return _up_by_dilation(maps, kernel, form, spare)


def kernel_gradient(images: Array, maps: Array, kernel_size: int, form: ConvolutionForm) -> Array:
    """d/d kernel of <down(images, kernel), maps>: (K, K, C, D)."""
    stride, padding, dtype, _ = form
    if maps.shape[1] == 1:
        return product("nhwc,nd->hwcd", _padded(images, padding, kernel_size), maps[:, 0, 0], dtype)
    if kernel_size == 1 and stride == 1:
        return product("nhwc,nhwd->cd", _padded(images, padding, maps.shape[1]), maps, dtype)[None, None]
    if _winograd_pays(images.shape[1], images.shape[3], kernel_size, form):
        return winograd.kernel_gradient(images, maps, dtype)
    spare = _spare_rows(images.shape[1], maps.shape[1], kernel_size, form)
    gradient = _convolution(  # that sums over the batch, as others do over channels
        images.transpose(3, 1, 2, 0),  # (C, H, H, N)
        maps.transpose(1, 2, 0, 3),  # (h, h, N, D)
        form,
        padding=[(padding, padding - spare)] * 2,  # rows that no output reached have no gradient
        kernel_dilation=stride,
    )
    return gradient.transpose(1, 2, 0, 3)


Saved = tuple[Array, Array]


def _down_forward(images: Array, kernel: Array, form: ConvolutionForm) -> tuple[Array, Saved]:
    return down(images, kernel, form), (images, kernel)


def _down_backward(form: ConvolutionForm, saved: Saved, cotangent: Array) -> Saved:
    images, kernel = saved
    spare = _spare_rows(images.shape[1], cotangent.shape[1], kernel.shape[0], form)
    images_gradient = _up_to_size(cotangent, kernel, form, spare=spare)
    return images_gradient, kernel_gradient(images, cotangent, kernel.shape[0], form)


def _up_forward(maps: Array, kernel: Array, form: ConvolutionForm) -> tuple[Array, Saved]:
    return up(maps, kernel, form), (maps, kernel)


def _up_backward(form: ConvolutionForm, saved: Saved, cotangent: Array) -> Saved:
    maps, kernel = saved
    maps_gradient = down(cotangent, kernel, form)
    return maps_gradient, kernel_gradient(cotangent, maps, kernel.shape[0], form)


down = jax.custom_vjp(_down, nondiff_argnums=(2,))
up = jax.custom_vjp(_up, nondiff_argnums=(2,))


down.defvjp(_down_forward, _down_backward)


up.defvjp(_up_forward, _up_backward)


def _winograd_pays(size: int, num_channels: int, kernel_size: int, form: ConvolutionForm) -> bool:
    """Whether Winograd's form exists for a larger side of this size, and is faster; on a GPU cuDNN chooses its own."""
    fits = winograd.fits(size, kernel_size, form.stride, form.padding)
    return fits and num_channels >= MIN_CHANNELS_FOR_WINOGRAD and form.platform == "cpu"


def _convolution(
    images: Array,
    kernel: Array,
    form: ConvolutionForm,
    *,
    padding: list[tuple[int, int]],
    stride: int = 1,
    image_dilation: int = 1,
    kernel_dilation: int = 1,
    is_transposed: bool = False,
) -> Array:
    """`product` as a convolution; on a GPU the result is of `form.dtype` too: mixed types XLA computes in float32."""
    held, result = images.dtype, images.dtype if form.platform == "cpu" else form.dtype
    images, kernel = _operand(images, form), _operand(kernel, form)
    if is_transposed:
        # cuDNN's backward-data kernel is recognised only when `rev` is the direct operand of the convolution.
        kernel = lax.rev(kernel.swapaxes(2, 3), (0, 1))
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        padding,
        lhs_dilation=(image_dilation, image_dilation),
        rhs_dilation=(kernel_dilation, kernel_dilation),
        dimension_numbers=DIMENSIONS,
        preferred_element_type=result,
    ).astype(held)


def _operand(array: Array, form: ConvolutionForm) -> Array:
    """In `form.dtype`; XLA:CPU has convolutions in float32 alone, so bfloat16 is a rounding there."""
    if form.dtype == jnp.bfloat16 and form.platform == "cpu":
        return lax.reduce_precision(array, exponent_bits=8, mantissa_bits=7)
    return array.astype(form.dtype)


def _map_size(size: int, kernel_size: int, form: ConvolutionForm) -> int:
    return (size + 2 * form.padding - kernel_size) // form.stride + 1


def _padded(images: Array, padding: int, size: int) -> Array:
    """The first `size` rows and columns of the padded images."""
    padded = jnp.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)]) if padding else images
    return padded[:, :size, :size]


def _cropped(images: Array, padding: int, spare: int) -> Array:
    """Images without the rows and columns that the padding added, but with the spare ones at their end."""
    end = images.shape[1] - padding + spare
    missing = max(end - images.shape[1], 0)  # rows beyond what any output reached: their gradient is 0
    images = jnp.pad(images, [(0, 0), (0, missing), (0, missing), (0, 0)]) if missing else images
    return images[:, padding:end, padding:end]


def _spare_rows(size: int, map_size: int, kernel_size: int, form: ConvolutionForm) -> int:
    """Rows of the padded image that no output reaches, since the stride does not divide it."""
    return size + 2 * form.padding - kernel_size - form.stride * (map_size - 1)


def _up_by_dilation(maps: Array, kernel: Array, form: ConvolutionForm, spare: int) -> Array:
    border = kernel.shape[0] - 1 - form.padding
    padding = [(border, border + spare)] * 2
    return _convolution(maps, kernel, form, padding=padding, image_dilation=form.stride, is_transposed=True)


def _up_by_matmul(maps: Array, kernel: Array, form: ConvolutionForm, spare: int) -> Array:
    """One matrix multiply gives every tap's contribution, then overlapping ones are added; stride divides K."""
    taps = product("nhwd,abcd->nhwabc", maps, kernel, form.dtype)  # (N, h, h, K, K, C)
    taps = _overlap_add(taps, form.stride, axis=1)  # (N, s (h + K / s - 1), h, K, C)
    return _cropped(_overlap_add(taps, form.stride, axis=2), form.padding, spare)


def _overlap_add(taps: Array, stride: int, axis: int) -> Array:
    """Fold the first tap axis (right after the image's axes) of (..., h, ...) into `axis`: each tap a row further."""
    tap_axis = 3
    num_overlaps = taps.shape[tap_axis] // stride

    def shifted(tap: int) -> Array:
        rows = [(0, 0)] * (taps.ndim - 1)
        rows[axis] = (tap // stride, num_overlaps - 1 - tap // stride)
        return jnp.pad(lax.index_in_dim(taps, tap, tap_axis, keepdims=False), rows)

    # Of the output rows, every stride-th is of one phase.
    phases = [
        reduce(jnp.add, (shifted(phase + stride * index) for index in range(num_overlaps))) for phase in range(stride)
    ]
    shape = [*phases[0].shape]
    shape[axis] *= stride
    return jnp.stack(phases, axis=axis + 1).reshape(shape)
