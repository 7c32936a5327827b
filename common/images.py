"""Images as people look at them: rounding to grey levels, and grids."""

import math

import numpy as np


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[-1, 1] to 0..255, rounded to the nearest level: the inverse of the networks' input scaling."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def image_grid(images: np.ndarray, *, num_columns: int, gap: int = 2) -> np.ndarray:
    """Lay (N, S, S[, 3]) out row by row on black: one picture (H, W[, 3])."""
    num_images, size = images.shape[:2]
    num_rows = math.ceil(num_images / num_columns)
    cell = size + gap
    grid = np.zeros((num_rows * cell + gap, num_columns * cell + gap, *images.shape[3:]), np.uint8)
    for index, image in enumerate(images):
        top, left = (gap + cell * position for position in divmod(index, num_columns))
        grid[top : top + size, left : left + size] = image
    return grid
