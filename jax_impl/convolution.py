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
    kernel_size = kernel.shape[0]
    if _map_size(images.shape[1], kernel_size, stride, padding) == 1:
        return jnp.einsum("nhwc,hwcd->nd", _padded(images, padding, kernel_size), kernel)[:, None, None]
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=DIMENSIONS
    )


def _up(maps: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Transpose of `_down`: maps (N, h, h, D) with the same kernel (K, K, C, D) to (N, H, H, C)."""
    return _up_to_size(maps, kernel, stride, padding, spare=0)


def _up_to_size(maps: Array, kernel: Array, stride: int, padding: int, *, spare: int) -> Array:
    """`_up` to images that had so many spare rows: an odd size, say 7 -> 3, has one that no output reached."""
    size, kernel_size, out_channels = maps.shape[1], kernel.shape[0], kernel.shape[2]
    if size == 1:
        return _cropped(jnp.einsum("nd,hwcd->nhwc", maps[:, 0, 0], kernel), padding, spare)
    if kernel_size % stride == 0 and stride > 1 and jax.default_backend() == "cpu":
        if out_channels <= MAX_CHANNELS_FOR_MATMUL or size < MIN_SIZE_FOR_SUBPIXEL:
            return _up_by_matmul(maps, kernel, stride, padding, spare)
        if (kernel_size, stride, padding, spare) == (4, 2, 1, 0):
            return _up_by_subpixel(maps, kernel)
    return _up_by_dilation(maps, kernel, stride, padding, spare)


def kernel_gradient(images: Array, maps: Array, kernel_size: int, stride: int, padding: int) -> Array:
    """d/d kernel of <down(images, kernel), maps>: (K, K, C, D), as a convolution that sums over the batch."""
    if maps.shape[1] == 1:
        return jnp.einsum("nhwc,nd->hwcd", _padded(images, padding, kernel_size), maps[:, 0, 0])
    if kernel_size == 1 and stride == 1:
        return jnp.einsum("nhwc,nhwd->cd", _padded(images, padding, maps.shape[1]), maps)[None, None]
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
    images_gradient = _up_to_size(cotangent, kernel, stride, padding, spare=spare)
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


def _map_size(size: int, kernel_size: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel_size) // stride + 1


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


def _spare_rows(size: int, map_size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Rows of the padded image that no output reaches, since the stride does not divide it."""
    return size + 2 * padding - kernel_size - stride * (map_size - 1)


def _up_by_dilation(maps: Array, kernel: Array, stride: int, padding: int, spare: int) -> Array:
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


def _up_by_matmul(maps: Array, kernel: Array, stride: int, padding: int, spare: int) -> Array:
    """One matrix multiply gives every tap's contribution, then overlapping ones are added; stride divides K."""
    taps = jnp.einsum("nhwd,abcd->nhwabc", maps, kernel)  # (N, h, h, K, K, C)
    taps = _overlap_add(taps, stride, axis=1)  # (N, s (h + K / s - 1), h, K, C)
    return _cropped(_overlap_add(taps, stride, axis=2), padding, spare)


def _overlap_add(taps: Array, stride: int, axis: int) -> Array:
    """Fold the first tap axis (right after the image's axes) of (..., h, ...) into `axis`: each tap a row further."""
    tap_axis = 3
    num_overlaps = taps.shape[tap_axis] // stride

    def shifted(tap: int) -> Array:
        rows = [(0, 0)] * (taps.ndim - 1)
        rows[axis] = (tap // stride, num_overlaps - 1 - tap // stride)
        return jnp.pad(lax.index_in_dim(taps, tap, tap_axis, keepdims=False), rows)

    # Of the output rows, every stride-th is of one phase.
    phases = [sum(shifted(phase + stride * index) for index in range(num_overlaps)) for phase in range(stride)]
    shape = [*phases[0].shape]
    shape[axis] *= stride
    return jnp.stack(phases, axis=axis + 1).reshape(shape)
