"""Kernel distance (KID): an unbiased distance of two feature sets, with a standard error."""

from typing import NamedTuple

import numpy as np

from common.data.randomness import stream

NUM_SUBSETS = 100  # Bińkowski et al. 2018, section 4: 100 subsets of 1,000
SUBSET_SIZE = 1_000


class KernelDistance(NamedTuple):
    """Mean over random subsets, and its standard error from disjoint blocks (subsets overlap: theirs means nothing)."""

    value: float
    standard_error: float | None  # None: there is one block


def kernel_distance(real: np.ndarray, generated: np.ndarray, *, seed: int) -> KernelDistance:
    """Mean squared MMD of features (N, D) with the cubic kernel, N at least 1,000; it may be negative."""
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    draw = stream(seed, "evaluation/kernel_subsets")
    subsets = [
        squared_mmd(
            real[draw.choice(len(real), SUBSET_SIZE, replace=False)],
            generated[draw.choice(len(generated), SUBSET_SIZE, replace=False)],
        )
        for _ in range(NUM_SUBSETS)
    ]
    num_blocks = min(len(real), len(generated)) // SUBSET_SIZE
    orders = [draw.permutation(len(features))[: num_blocks * SUBSET_SIZE] for features in (real, generated)]
    pairs = zip(*(order.reshape(num_blocks, SUBSET_SIZE) for order in orders), strict=True)
    blocks = [squared_mmd(real[of_real], generated[of_generated]) for of_real, of_generated in pairs]
    error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks))) if len(blocks) > 1 else None
    return KernelDistance(float(np.mean(subsets)), error)


def squared_mmd(real: np.ndarray, generated: np.ndarray) -> float:
    """Unbiased squared MMD of equally many features (Gretton et al. 2012, equation 4), kernel (x.y / D + 1)^3."""
    num = len(real)
    within = [(kernel.sum() - np.trace(kernel)) / (num * (num - 1)) for kernel in map(_gram, (real, generated))]
    return float(sum(within) - 2 * _gram(real, generated).mean())


def _gram(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    second = first if second is None else second
    linear = (first / first.shape[1]) @ second.T
    linear += 1
    cube = linear * linear  # ten times as fast as ** 3
    cube *= linear
    return cube
