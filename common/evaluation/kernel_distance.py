"""Kernel distance (KID): an unbiased distance of two feature sets, with a standard error."""

from typing import NamedTuple

import numpy as np

from common.data.randomness import stream

NUM_SUBSETS = 100  # Bińkowski et al. 2018, section 4: 100 subsets of 1,000
SUBSET_SIZE = 1_000
MAX_SHARED = 5_000  # of more points, the subsets share too little of the kernel's matrix
CHUNK_ROWS = 1_000  # of the kernel's matrix held at a time


class KernelDistance(NamedTuple):
    """Mean over random subsets, and its standard error from disjoint blocks (subsets overlap: theirs means nothing)."""

    value: float
    standard_error: float | None  # None: there is one block


def kernel_distance(real: np.ndarray, generated: np.ndarray, *, seed: int) -> KernelDistance:
    """Mean squared MMD of features (N, D) with the cubic kernel; it may be negative. Fewer than 1,000 are all used."""
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    draw = stream(seed, "evaluation/kernel_subsets")
    num_points = min(len(real), len(generated))
    size = min(SUBSET_SIZE, num_points)
    chosen = [
        [draw.choice(len(points), size, replace=False) for points in (real, generated)] for _ in range(NUM_SUBSETS)
    ]
    num_blocks = num_points // size
    orders = [draw.permutation(len(points))[: num_blocks * size] for points in (real, generated)]
    of_real, of_generated = (order.reshape(num_blocks, size) for order in orders)
    chosen += [list(pair) for pair in zip(of_real, of_generated, strict=True)]
    if num_points <= MAX_SHARED:
        values = squared_mmds(real, generated, *map(np.stack, zip(*chosen, strict=True)))
    else:
        values = np.array([squared_mmd(real[of_real], generated[of_generated]) for of_real, of_generated in chosen])
    blocks = values[NUM_SUBSETS:]
    error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks))) if len(blocks) > 1 else None
    return KernelDistance(float(np.mean(values[:NUM_SUBSETS])), error)


def squared_mmd(real: np.ndarray, generated: np.ndarray) -> float:
    """Of equally many features."""
    everything = np.arange(len(real))[None]
    return float(squared_mmds(real, generated, everything, everything)[0])


def squared_mmds(real: np.ndarray, generated: np.ndarray, of_real: np.ndarray, of_generated: np.ndarray) -> np.ndarray:
    """Unbiased squared MMD (Gretton et al. 2012, equation 4) of each pair of subsets, indices (M, n) of the features.

    The kernel is (x.y / D + 1)^3. Each of its values is computed once, however many subsets share it.
    """
    num = of_real.shape[1]
    own, other = _membership(of_real, len(real)), _membership(of_generated, len(generated))
    within = [
        _sums(points, points, members, members) - members @ ((points * points).mean(axis=1) + 1) ** 3
        for points, members in ((real, own), (generated, other))
    ]
    return sum(within) / (num * (num - 1)) - 2 * _sums(real, generated, own, other) / num**2


def _membership(indices: np.ndarray, num_points: int) -> np.ndarray:
    """1 where a subset (M, num_points) has the point."""
    members = np.zeros((len(indices), num_points))
    np.put_along_axis(members, indices, 1, axis=1)
    return members


def _sums(first: np.ndarray, second: np.ndarray, members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The kernel summed (M,) over the pairs of each subset of the first and the same one of the second."""
    sums = np.zeros(len(members))
    for start in range(0, len(first), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        linear = (first[rows] / first.shape[1]) @ second.T
        linear += 1
        cube = linear * linear  # ten times as fast as ** 3
        cube *= linear
        sums += np.einsum("mr,mr->m", members[:, rows], others @ cube.T)
    return sums
