"""Latent smoothness: how fast images change along paths between latents."""

from collections.abc import Callable

import numpy as np

from common.data.latent_paths import slerp
from common.data.randomness import stream

NUM_PATHS = 1_000
# Karras et al. 2019 take 1e-4; at 1e-3 the difference of two float32 images is still a thousand times their rounding.
STEP = 1e-3
TRIMMED_PERCENTILES = (1, 99)  # as in their code: a few paths cross from one digit to another


def path_length(generate: Callable[[np.ndarray], np.ndarray], *, seed: int, draw: int, latent_dim: int) -> float:
    """Mean squared speed of the image along slerp from one latent to another, per unit of the path.

    Perceptual path length (Karras et al. 2019, section 4.1) with plain pixels in place of a network. `generate` makes
    float images (N, S, S[, 3]) in [-1, 1] of latents (N, Z): rounded to grey levels, they would move in jumps.
    """
    random = stream(seed, "evaluation/paths", draw)
    start, end = random.standard_normal((2, NUM_PATHS, latent_dim))
    position = random.uniform(0, 1 - STEP, NUM_PATHS)
    here, there = (generate(slerp(start, end, position + shift)).astype(np.float64) for shift in (0, STEP))
    speeds = np.sum((there - here).reshape(NUM_PATHS, -1) ** 2, axis=1) / STEP**2
    low, high = np.percentile(speeds, TRIMMED_PERCENTILES)
    return float(speeds[(speeds >= low) & (speeds <= high)].mean())
