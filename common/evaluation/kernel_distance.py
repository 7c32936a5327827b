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


def described(num_images: int, *, seed: int) -> dict[str, int]:
    """What the protocol of scores says of it."""
    return {"num_subsets": NUM_SUBSETS, "subset_size": min(SUBSET_SIZE, num_images), "seed": seed}


def kernel_distance(real: np.ndarray, generated: np.ndarray, *, seed: int) -> KernelDistance:
    """Mean squared MMD of features (N, D) with the cubic kernel; it may be negative. Fewer than 1,000 are all used."""
    return RealKernel(real, num_generated=len(generated), seed=seed).distance_to(generated)


class RealKernel:
    """Real features (N, D), which of them and of the generated ones each subset takes, and what the real ones give."""

    def __init__(self, real: np.ndarray, *, num_generated: int, seed: int) -> None:
        self.real = real.astype(np.float64)
        draw = stream(seed, "evaluation/kernel_subsets")
        nums = len(real), num_generated
        size = min(SUBSET_SIZE, *nums)
        chosen = [[draw.choice(num, size, replace=False) for num in nums] for _ in range(NUM_SUBSETS)]
        num_blocks = min(nums) // size
        blocks = [draw.permutation(num)[: num_blocks * size].reshape(num_blocks, size) for num in nums]
        self.of_real, self.of_generated = (
            np.concatenate([np.stack(subsets), block])
            for subsets, block in zip(zip(*chosen, strict=True), blocks, strict=True)
        )
        self.size = size
        self.within_real = sums_within(self.real, self.of_real)

    def distance_to(self, generated: np.ndarray) -> KernelDistance:
        """Of as many generated features (M, D) as were told of."""
        generated = generated.astype(np.float64)
        within = self.within_real, sums_within(generated, self.of_generated)
        values = squared_mmds(*within, sums_between(self.real, generated, self.of_real, self.of_generated), self.size)
        blocks = values[NUM_SUBSETS:]
        error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks))) if len(blocks) > 1 else None
        return KernelDistance(float(np.mean(values[:NUM_SUBSETS])), error)


def squared_mmds(real: np.ndarray, generated: np.ndarray, between: np.ndarray, size: int) -> np.ndarray:
    """Unbiased squared MMD (Gretton et al. 2012, equation 4) of each pair of subsets of `size` features, from sums (M,)
    of the kernel (x.y / D + 1)^3 within and between them.
    """
    return (real + generated) / (size * (size - 1)) - 2 * between / size**2


def sums_within(points: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The kernel summed (M,) over the pairs of different points of each subset (M, n)."""
    of_themselves = ((points * points).mean(axis=1) + 1) ** 3
    return sums_between(points, points, indices, indices) - of_themselves[indices].sum(axis=1)


def sums_between(first: np.ndarray, second: np.ndarray, indices: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The kernel summed (M,) over the pairs of a subset (M, n) of the first and the same one of the second.

    Each value of the kernel is computed once where subsets share most of them.
    """
    first = first / first.shape[1]
    if max(len(first), len(second)) <= MAX_SHARED and len(indices) > 1:
        return _shared_sums(first, second, _membership(indices, len(first)), _membership(others, len(second)))
    linear, square = np.empty((2, indices.shape[1], others.shape[1]))
    sums = np.empty(len(indices))
    for subset, (rows, columns) in enumerate(zip(indices, others, strict=True)):
        np.matmul(first[rows], second[columns].T, out=linear)
        linear += 1
        np.multiply(linear, linear, out=square)
        sums[subset] = np.vdot(square, linear)
    return sums


def _membership(indices: np.ndarray, num_points: int) -> np.ndarray:
    """1 where a subset (M, num_points) has the point."""
    members = np.zeros((len(indices), num_points))
    np.put_along_axis(members, indices, 1, axis=1)
    return members


def _shared_sums(first: np.ndarray, second: np.ndarray, members: np.ndarray, others: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(members))
    for start in range(0, len(first), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        linear = first[rows] @ second.T
        linear += 1
        cube = linear * linear  # ten times as fast as ** 3
        cube *= linear
        sums += np.einsum("mr,mr->m", members[:, rows], others @ cube.T)
    return sums
