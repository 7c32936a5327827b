"""Square convolution and its transpose, each with hand-written gradients that stay on XLA's fast paths.

XLA:CPU runs the kernel gradient of a strided transposed convolution, as autodiff writes it, in an unoptimised loop
nest 60 times slower than its other convolutions (jax#31662, xla#34273). Here the two operations are each other's
gradients, and the kernel gradient is a dilated convolution in the canonical layout, which XLA does well.

Images are NHWC. Both directions take the kernel of the convolution: (K, K, C, D), C channels on its larger side
(`images`), D on its smaller one (`maps`). No forward-mode or second derivatives: a custom VJP has none.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")

# Up to this many output channels, one matrix multiply and an overlap-add beat a convolution on a CPU.
MAX_CHANNELS_FOR_MATMUL = 8
# Below this input size the same holds; from it on, four small convolutions win (docs/decisions/0003).
MIN_SIZE_FOR_SUBPIXEL = 8


def _down(images: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Strided convolution of images (N, H, H, C) with kernel (K, K, C, D) to (N, h, h, D)."""
    if _covers_image(images.shape, kernel.shape, padding):
        return jnp.einsum("nhwc,hwcd->nd", images, kernel)[:, None, None]
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=DIMENSIONS
    )


def _up(maps: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Transpose of `_down`: maps (N, h, h, D) with the same kernel (K, K, C, D) to (N, H, H, C)."""
    size, out_channels = maps.shape[1], kernel.shape[2]
    if size == 1 and padding == 0:
        return jnp.einsum("nd,hwcd->nhwc", maps[:, 0, 0], kernel)
    if (kernel.shape[0], stride, padding) == (4, 2, 1) and jax.default_backend() == "cpu":
        if out_channels <= MAX_CHANNELS_FOR_MATMUL or size < MIN_SIZE_FOR_SUBPIXEL:
            return _up_by_matmul(maps, kernel)
        return _up_by_subpixel(maps, kernel)
    return _up_by_dilation(maps, kernel, stride, padding)


def kernel_gradient(images: Array, maps: Array, kernel_size: int, stride: int, padding: int) -> Array:
    """d/d kernel of <down(images, kernel), maps>: (K, K, C, D), as a convolution that sums over the batch."""
    if _covers_image(images.shape, (kernel_size,), padding):
        return jnp.einsum("nhwc,nd->hwcd", images, maps[:, 0, 0])
    spare = _spare_rows(images.shape[1], maps.shape[1], kernel_size, stride, padding)
    gradient = lax.conv_general_dilated(
        images.transpose(3, 1, 2, 0),  # (C, H, H, N)
        maps.transpose(1, 2, 0, 3),  # (h, h, N, D)
        (1, 1),
        [(padding, padding - spare)] * 2,  # rows that no output reached have no gradient
        rhs_dilation=(stride, stride),
        dimension_numbers=DIMENSIONS,
    )
    return gradient.transpose(1, 2, 0, 3)


def _down_forward(images: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return down(images, kernel, stride, padding), (images, kernel)


def _down_backward(stride: int, padding: int, saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    images, kernel = saved
    spare = _spare_rows(images.shape[1], cotangent.shape[1], kernel.shape[0], stride, padding)
    if spare:  # an odd size, say 7 -> 3: the symmetric crop of `up` would cut rows that do have a gradient
        images_gradient = _up_by_dilation(cotangent, kernel, stride, padding, spare)
    else:
        images_gradient = up(cotangent, kernel, stride, padding)
    return images_gradient, kernel_gradient(images, cotangent, kernel.shape[0], stride, padding)


def _up_forward(maps: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return up(maps, kernel, stride, padding), (maps, kernel)


def _up_backward(stride: int, padding: int, saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    maps, kernel = saved
    return down(cotangent, kernel, stride, padding), kernel_gradient(cotangent, maps, kernel.shape[0], stride, padding)


down = jax.custom_vjp(_down, nondiff_argnums=(2, 3))
up = jax.custom_vjp(_up, nondiff_argnums=(2, 3))
down.defvjp(_down_forward, _down_backward)
up.defvjp(_up_forward, _up_backward)


def _covers_image(image_shape: tuple[int, ...], kernel_shape: tuple[int, ...], padding: int) -> bool:
    return padding == 0 and image_shape[1] == kernel_shape[0]


def _spare_rows(size: int, map_size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Rows of the padded image that no output reaches, since the stride does not divide it."""
    return size + 2 * padding - kernel_size - stride * (map_size - 1)


def _up_by_dilation(maps: Array, kernel: Array, stride: int, padding: int, spare: int = 0) -> Array:
    # cuDNN's backward-data kernel is recognised only when `rev` is the direct operand of the convolution.
    flipped = lax.rev(kernel.swapaxes(2, 3), (0, 1))
    border = kernel.shape[0] - 1 - padding
    return lax.conv_general_dilated(
        maps,
        flipped,
        (1, 1),
        [(border, border + spare)] * 2,
        lhs_dilation=(stride, stride),
        dimension_numbers=DIMENSIONS,
    )


def _up_by_subpixel(maps: Array, kernel: Array) -> Array:
    """For k4 s2 p1: each of the four output phases is a dense 2x2 convolution of the input."""
    # Even output rows 2r read input rows r-1 (tap 3) and r (tap 1); odd rows read r (tap 2) and r+1 (tap 0).
    phases = ((jnp.array([3, 1]), (1, 0)), (jnp.array([2, 0]), (0, 1)))
    kernel = kernel.swapaxes(2, 3)  # (4, 4, D, C)
    rows = []
    for row_taps, row_padding in phases:
        columns = [
            lax.conv_general_dilated(
                maps,
                kernel[row_taps][:, column_taps],
                (1, 1),
                (row_padding, column_padding),
                dimension_numbers=DIMENSIONS,
            )
            for column_taps, column_padding in phases
        ]
        rows.append(jnp.stack(columns, axis=3))  # (N, h, h, 2, C)
    batch, size, _, _ = maps.shape
    return jnp.stack(rows, axis=2).reshape(batch, 2 * size, 2 * size, kernel.shape[3])


def _up_by_matmul(maps: Array, kernel: Array) -> Array:
    """For k4 s2 p1: one matrix multiply gives every tap's contribution, then overlapping ones are added."""
    taps = jnp.einsum("nhwd,abcd->nhwabc", maps, kernel)  # (N, h, h, 4, 4, C)
    batch, size, *_ = maps.shape
    taps = _overlap_add(taps, axis=1)  # (N, 2h, h, 4, C)
    return _overlap_add(taps, axis=2).reshape(batch, 2 * size, 2 * size, kernel.shape[2])


def _overlap_add(taps: Array, axis: int) -> Array:
    """Fold the first tap axis (4 taps, right after the image's axes) of (..., h, ...) into 2h along `axis`."""
    tap_axis = 3
    first, second, third, fourth = (lax.index_in_dim(taps, tap, tap_axis, keepdims=False) for tap in range(4))
    size = taps.shape[axis]
    no_padding = [(0, 0)] * first.ndim

    def shifted(array: Array, offset: int) -> Array:
        width = list(no_padding)
        width[axis] = (max(offset, 0), max(-offset, 0))
        return lax.slice_in_dim(jnp.pad(array, width), max(-offset, 0), max(-offset, 0) + size, axis=axis)

    even, odd = second + shifted(fourth, 1), third + shifted(first, -1)
    shape = [*even.shape]
    shape[axis] = 2 * size
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)
