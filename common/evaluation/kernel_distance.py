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
        self.within_real = sums_within(self.real, self.of_real)

    def distance_to(self, generated: np.ndarray) -> KernelDistance:
        """Of as many generated features (M, D) as were told of."""
        generated = generated.astype(np.float64)
        within = self.within_real + sums_within(generated, self.of_generated)
        num = self.of_real.shape[1]
        values = within / (num * (num - 1)) - 2 * sums_between(
            self.real, generated, self.of_real, self.of_generated
        ) / num**2
        blocks = values[NUM_SUBSETS:]
        error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks))) if len(blocks) > 1 else None
        return KernelDistance(float(np.mean(values[:NUM_SUBSETS])), error)


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
