"""Which points are near which: screened in float32, decided in float64.

One matrix product in float32 bounds the squared distances of all pairs from below. So it tells which pairs can matter,
a few of each thousand. Those alone are computed again, in float64 and from the differences: a pair has one distance,
whoever asks for it, and that of two equal points is 0.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

NUM_ROWS, NUM_COLUMNS = 512, 2_048  # of the bounds held at a time: they stay in a core's cache
NUM_GROUPS = 64  # of columns: the least bounds of each are those of as many different points
NUM_EXACT = 8_192  # pairs that are computed again at a time


class Nearest(NamedTuple):
    """Of each point its k nearest others, nearest first: indices (N, k) and squared distances (N, k)."""

    indices: np.ndarray
    squared: np.ndarray


class Pairs(NamedTuple):
    """Pairs of a point and another, by index (P,), and in whose ball the two lie (P,): nearer than its radius."""

    points: np.ndarray
    others: np.ndarray
    in_ball_of_point: np.ndarray
    in_ball_of_other: np.ndarray


def nearest(points: np.ndarray, others: np.ndarray | None = None, *, k: int) -> Nearest:
    """Of points (N, D) among others (M, D), or among themselves: then a point is not its own, but an equal one is."""
    screen = _Screen(points, points if others is None else others)
    found = [_nearest_of_rows(screen, rows, k=k, skip_itself=others is None) for rows in screen.blocks]
    return Nearest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def pairs_within(points: np.ndarray, others: np.ndarray, radii: np.ndarray, other_radii: np.ndarray) -> Iterator[Pairs]:
    """All pairs of points (N, D) and others (M, D) that lie in the ball of either, in parts, for there can be many.

    Squared radii (N,) and (M,). Pairs may come along that lie in neither.
    """
    screen = _Screen(points, others)
    limits, other_limits = ((each / screen.scale).astype(np.float32) for each in (radii, other_radii))
    padded = np.concatenate([other_limits, np.zeros(len(screen.right) - len(others), np.float32)])
    for rows in screen.blocks:
        for start, bounds in screen.tiles(rows):
            near = bounds <= limits[rows, None]
            near |= bounds <= padded[start : start + NUM_COLUMNS]
            first, second = _places(near, rows.start, start)
            least = bounds[first - rows.start, second - start]
            most = least + 2 * screen.margins[first]
            # Where balls are large, these are nearly all pairs.
            inside, inside_other = most < limits[first], most < other_limits[second]
            may_be, may_be_other = least <= limits[first], least <= other_limits[second]
            unsure = np.flatnonzero((may_be & ~inside) | (may_be_other & ~inside_other))
            squared = screen.exactly(first[unsure], second[unsure])
            inside[unsure] = squared < radii[first[unsure]]
            inside_other[unsure] = squared < other_radii[second[unsure]]
            yield Pairs(first, second, inside, inside_other)


def _nearest_of_rows(screen: "_Screen", rows: slice, *, k: int, skip_itself: bool) -> Nearest:
    num = rows.stop - rows.start
    least = np.full((num, NUM_GROUPS), np.inf, np.float32)
    limits, found = least[:, 0], []
    for start, bounds in screen.tiles(rows):
        if skip_itself:
            itself = np.arange(max(rows.start, start), min(rows.stop, start + bounds.shape[1]))
            bounds[itself - rows.start, itself - start] = np.inf
        np.minimum(least, bounds.reshape(num, -1, NUM_GROUPS).min(axis=1), out=least)
        # As many points are surely no farther than this.
        limits = np.partition(least, k - 1, axis=1)[:, k - 1] + 2 * screen.margins[rows]
        near, others = _places(bounds <= limits[:, None], 0, start)
        found.append((near, others, bounds[near, others - start]))
    near, others, bounds = (np.concatenate(parts) for parts in zip(*found, strict=True))
    still_near = bounds <= limits[near]  # the limit has fallen from tile to tile
    near, others = near[still_near], others[still_near]
    squared = screen.exactly(near + rows.start, others)
    order = np.lexsort((others, squared, near))
    firsts = np.searchsorted(near[order], np.arange(num))
    chosen = order[firsts[:, None] + np.arange(k)]
    return Nearest(others[chosen], squared[chosen])


class _Screen:
    """Lower bounds of the squared distances of all pairs, in tiles, in units of `scale`.

    No distance exceeds its bound by more than twice the margin (N,) of its row. A sum of n products in float32 is off
    by at most n + 1 roundings of the sum of their sizes (Higham 2002, equation 3.5), here (|x| + |y|)^2. The margin is
    more than twice that.
    """

    def __init__(self, points: np.ndarray, others: np.ndarray) -> None:
        self.points, self.others = points.astype(np.float64), others.astype(np.float64)
        centre = self.others.mean(axis=0)
        left, right = self.points - centre, self.others - centre
        squares, other_squares = (np.einsum("nd,nd->n", side, side) for side in (left, right))
        # In units of the longest no square is too large for float32.
        self.scale = float(max(squares.max(), other_squares.max())) or 1.0
        squares, other_squares = squares / self.scale, other_squares / self.scale
        left, right = left / np.sqrt(self.scale), right / np.sqrt(self.scale)
        rounding = (left.shape[1] + 16) * np.finfo(np.float32).eps
        self.margins = rounding * (np.sqrt(squares) + np.sqrt(other_squares.max())) ** 2
        # |x|^2 - 2 x.y + |y|^2, and the margin, as one product.
        self.left = _columns(-2 * left, squares - self.margins, np.ones(len(left)))
        self.right = _columns(right, np.ones(len(right)), other_squares)
        filling = np.zeros((-len(right) % NUM_GROUPS, self.right.shape[1]), np.float32)
        filling[:, -1] = np.inf  # as far as can be
        self.right = np.concatenate([self.right, filling])

    @property
    def blocks(self) -> list[slice]:
        """The points, some rows at a time."""
        return [slice(start, min(start + NUM_ROWS, len(self.left))) for start in range(0, len(self.left), NUM_ROWS)]

    def tiles(self, rows: slice) -> Iterator[tuple[int, np.ndarray]]:
        """The place of its first column, and the bounds of these rows: the next tile overwrites them."""
        buffer = np.empty((rows.stop - rows.start, NUM_COLUMNS), np.float32)
        for start in range(0, len(self.right), NUM_COLUMNS):
            right = self.right[start : start + NUM_COLUMNS]
            if len(right) < NUM_COLUMNS:
                buffer = np.empty((len(buffer), len(right)), np.float32)
            yield start, np.matmul(self.left[rows], right.T, out=buffer)

    def exactly(self, points: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The squared distances (P,) of pairs, by index, in float64."""
        squared = np.empty(len(points))
        for start in range(0, len(points), NUM_EXACT):
            some = slice(start, start + NUM_EXACT)
            differences = self.points[points[some]] - self.others[others[some]]
            np.einsum("pd,pd->p", differences, differences, out=squared[some])
        return squared


def _columns(*parts: np.ndarray) -> np.ndarray:
    return np.column_stack(parts).astype(np.float32)


def _places(found: np.ndarray, first_row: int, first_column: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.divmod(np.flatnonzero(found), found.shape[1])
    return rows + first_row, columns + first_column
