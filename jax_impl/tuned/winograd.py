"""Convolutions of kernel 4, stride 2, padding 1 in 9 multiplications instead of 16; no twin in torch_impl.

The even and the odd taps of such a kernel are two kernels of size 2, each on the rows of its own parity. Two
neighbouring outputs of one of them, from three inputs d and two taps g, need three products instead of four (F(2, 2) of
Winograd 1980; Lavin & Gray 2016, section 4):

    y0 = (d0 - d1) g0 + d1 (g0 + g1)
    y1 = d1 (g0 + g1) - (d1 - d2) g1

Over rows, columns and channels that is nine matrix multiplies between transforms that only add and subtract. Each
transform stands here with its transpose: `up` is `down` backwards, and the kernel gradient multiplies what both split.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

# Summed over several axes, XLA multiplies a transposed copy of the left tiles; over one, the tiles where they lie. The
# copy writes to every row in turn, and costs more a number the longer the rows are (docs/decisions/0029). In bfloat16
# there is a copy anyhow, which rounds.
MIN_ROWS_TO_FLATTEN = 2048


def fits(size: int, kernel_size: int, stride: int, padding: int) -> bool:
    """Whether these functions compute that convolution of images of this size."""
    return (kernel_size, stride, padding) == (4, 2, 1) and size % 4 == 0


@partial(jax.jit, static_argnames="dtype")
def down(images: Array, kernel: Array, dtype: DTypeLike) -> Array:
    """Convolution of images (N, H, H, C) with kernel (4, 4, C, D) to (N, H / 2, H / 2, D); 4 divides H."""
    pairs = zip(_split_images(images), _split_kernel(kernel), strict=True)
    return _join_maps([product("ntuk,kd->ntud", tiles, taps, dtype) for tiles, taps in pairs])


@partial(jax.jit, static_argnames="dtype")
def up(maps: Array, kernel: Array, dtype: DTypeLike) -> Array:
    """Transpose of `down`: maps (N, H / 2, H / 2, D) with the same kernel to (N, H, H, C)."""
    pairs = zip(_split_maps(maps), _split_kernel(kernel), strict=True)
    return _join_images([product("ntud,kd->ntuk", tiles, taps, dtype) for tiles, taps in pairs])


@partial(jax.jit, static_argnames="dtype")
def kernel_gradient(images: Array, maps: Array, dtype: DTypeLike) -> Array:
    """d/d kernel of <down(images, kernel), maps>: (4, 4, C, D)."""
    pairs = zip(_split_images(images), _split_maps(maps), strict=True)
    return _join_kernel([_product_over_tiles(left, right, dtype) for left, right in pairs])


def product(subscripts: str, left: Array, right: Array, dtype: DTypeLike) -> Array:
    """A matrix multiply of operands in `dtype`, summed and held as they were: so bfloat16 reaches AMX on a CPU.

    `jax_impl/tuned/convolution.py` takes it from here too. It is given no flattened axes: docs/decisions/0013.
    """
    return jnp.einsum(subscripts, left.astype(dtype), right.astype(dtype), preferred_element_type=left.dtype)


def _product_over_tiles(left: Array, right: Array, dtype: DTypeLike) -> Array:
    """Tiles (N, T, T, K) times tiles (N, T, T, D), summed over images and tiles: (K, D)."""
    num_rows = left.size // left.shape[-1]
    if num_rows < MIN_ROWS_TO_FLATTEN or dtype == jnp.bfloat16:
        return product("ntuk,ntud->kd", left, right, dtype)
    return product("rk,rd->kd", left.reshape(num_rows, -1), right.reshape(num_rows, -1), dtype)


def _split_images(images: Array) -> list[Array]:
    """Nine tiles (N, T, T, 4 C), each with two outputs to a side."""
    columns = [tiles for rows in _split_axis(images, 1) for tiles in _split_axis(rows, 3)]  # (N, T, 2, T, 2, C)
    return [tiles.swapaxes(2, 3).reshape(*tiles.shape[:2], tiles.shape[3], -1) for tiles in columns]


def _join_images(tiles: list[Array]) -> Array:
    """Transpose of `_split_images`."""
    columns = [tile.reshape(*tile.shape[:3], 2, 2, -1).swapaxes(2, 3) for tile in tiles]
    return _join_axis([_join_axis(columns[3 * row : 3 * row + 3], 3) for row in range(3)], 1)


def _split_axis(images: Array, axis: int) -> list[Array]:
    """d0 - d1, d1 and d1 - d2 of the padded rows of either parity: three of shape (..., T, 2, ...)."""
    blocks = images.reshape(*images.shape[:axis], -1, 4, *images.shape[axis + 1 :])  # (..., T, 4, ...)
    row = [lax.index_in_dim(blocks, index, axis + 1, keepdims=False) for index in range(4)]
    # The window of a tile reaches one row into the blocks before and after its own. Shifting those rows alone is faster
    # than slicing windows from a padded image, whose bounds XLA checks at every element.
    before, after = _shift(row[3], axis, 1), _shift(row[0], axis, -1)
    return [
        jnp.stack([before - row[1], row[0] - row[2]], axis + 1),
        jnp.stack([row[1], row[2]], axis + 1),
        jnp.stack([row[1] - row[3], row[2] - after], axis + 1),
    ]


def _join_axis(tiles: list[Array], axis: int) -> Array:
    """Transpose of `_split_axis`."""
    (first_even, first_odd), (second_even, second_odd), (third_even, third_odd) = (
        [lax.index_in_dim(tile, parity, axis + 1, keepdims=False) for parity in range(2)] for tile in tiles
    )
    blocks = jnp.stack(
        [
            first_odd - _shift(third_odd, axis, 1),
            second_even + third_even - first_even,
            second_odd + third_odd - first_odd,
            _shift(first_even, axis, -1) - third_even,
        ],
        axis + 1,
    )
    return blocks.reshape(*first_even.shape[:axis], -1, *first_even.shape[axis + 1 :])


def _split_maps(maps: Array) -> list[Array]:
    """Nine tiles (N, T, T, D); transpose of `_join_maps`."""
    return [tiles for rows in _split_outputs(maps, 1) for tiles in _split_outputs(rows, 2)]


def _join_maps(tiles: list[Array]) -> Array:
    """y0 and y1 over rows and columns: maps (N, 2 T, 2 T, D)."""
    return _join_outputs([_join_outputs(tiles[3 * row : 3 * row + 3], 2) for row in range(3)], 1)


def _split_outputs(maps: Array, axis: int) -> list[Array]:
    even, odd = (lax.slice_in_dim(maps, start, None, stride=2, axis=axis) for start in (0, 1))
    return [even, even + odd, -odd]


def _join_outputs(tiles: list[Array], axis: int) -> Array:
    first, second, third = tiles
    rows = jnp.stack([first + second, second - third], axis=axis + 1)
    return rows.reshape(*first.shape[:axis], -1, *first.shape[axis + 1 :])


def _split_kernel(kernel: Array) -> list[Array]:
    """g0, g0 + g1 and g1 over rows and columns: nine (4 C, D)."""
    taps = kernel.reshape(2, 2, 2, 2, *kernel.shape[2:])  # of rows and columns each: tap, parity
    rows = [taps[0], taps[0] + taps[1], taps[1]]  # (2, 2, 2, C, D)
    columns = [tap for row in rows for tap in (row[:, 0], row[:, 0] + row[:, 1], row[:, 1])]  # (2, 2, C, D)
    return [tap.reshape(-1, kernel.shape[3]) for tap in columns]


def _join_kernel(taps: list[Array]) -> Array:
    """Transpose of `_split_kernel`."""
    columns = [tap.reshape(2, 2, -1, tap.shape[1]) for tap in taps]  # (2, 2, C, D)
    rows = [_two_taps(columns[3 * row : 3 * row + 3], axis=1) for row in range(3)]  # (2, 2, 2, C, D)
    return _two_taps(rows, axis=0).reshape(4, 4, *rows[0].shape[3:])


def _two_taps(taps: list[Array], *, axis: int) -> Array:
    first, second, third = taps
    return jnp.stack([first + second, second + third], axis=axis)


def _shift(array: Array, axis: int, by: int) -> Array:
    """One place on (1) or back (-1) along `axis`; what comes in is 0."""
    size = array.shape[axis]
    kept = lax.slice_in_dim(array, max(-by, 0), size - max(by, 0), axis=axis)
    padding = [(0, 0)] * array.ndim
    padding[axis] = (max(by, 0), max(-by, 0))
    return jnp.pad(kept, padding)
