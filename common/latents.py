"""Paths through the latent space."""

import numpy as np


def slerp(start: np.ndarray, end: np.ndarray, position: np.ndarray) -> np.ndarray:
    """From `start` (N, Z) to `end` along the sphere, at `position` (N,) in [0, 1]: White 2016, section 2.1.

    A straight line would pass through latents shorter than any that a generator was trained on. The length goes
    linearly from the one's to the other's.
    """
    start, end = start.astype(np.float64), end.astype(np.float64)
    position = np.asarray(position, np.float64)[:, None]
    lengths = [np.linalg.norm(latents, axis=1, keepdims=True) for latents in (start, end)]
    directions = [latents / length for latents, length in zip((start, end), lengths, strict=True)]
    angle = np.arccos(np.clip(np.sum(directions[0] * directions[1], axis=1, keepdims=True), -1, 1))
    is_parallel = np.sin(angle) < 1e-9  # in one dimension always: there the way is straight
    divisor = np.where(is_parallel, 1.0, np.sin(angle))
    shares = [np.where(is_parallel, share, np.sin(share * angle) / divisor) for share in (1 - position, position)]
    direction = shares[0] * directions[0] + shares[1] * directions[1]
    return (direction * ((1 - position) * lengths[0] + position * lengths[1])).astype(np.float32)
