"""Every random number of a run: counter-based NumPy streams keyed by (seed, stream name, index).

Any number is reached without drawing those before it, so both frameworks see the same bytes, and a resumed run needs
no generator state.
"""

import hashlib

import numpy as np


def stream(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """An independent generator for each (seed, name, index): Philox (Salmon et al. 2011), keyed by a hash."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    # The index fills the counter's highest word, so streams of one key lie 2**192 draws apart.
    return np.random.Generator(
        np.random.Philox(key=np.frombuffer(digest[:16], "<u8"), counter=np.array([0, 0, 0, index], dtype=np.uint64))
    )


def epoch_permutation(seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The order in which epoch `epoch` (from 0) visits the training images."""
    return stream(seed, "epoch_permutation", epoch).permutation(num_images)


def training_latents(seed: int, step: int, *, num_batches: int, batch_size: int, latent_dim: int) -> np.ndarray:
    """All latents of step `step` (from 0): float32 (num_batches, batch_size, latent_dim), standard normal."""
    shape = (num_batches, batch_size, latent_dim)
    return stream(seed, "training_latents", step).standard_normal(shape, dtype=np.float32)


def fixed_latents(seed: int, *, num: int, latent_dim: int) -> np.ndarray:
    """The latents whose images show progress over epochs: float32 (num, latent_dim)."""
    return stream(seed, "fixed_latents").standard_normal((num, latent_dim), dtype=np.float32)


def epoch_quality_latents(seed: int, *, num: int, latent_dim: int) -> np.ndarray:
    """Latents of the images that are scored after each epoch, the same each time: float32 (num, latent_dim)."""
    return stream(seed, "epoch_quality_latents").standard_normal((num, latent_dim), dtype=np.float32)


def evaluation_latents(seed: int, *, num: int, latent_dim: int, draw: int = 0) -> np.ndarray:
    """Latents of the images that are scored: float32 (num, latent_dim), a fresh set for each `draw`."""
    return stream(seed, "evaluation_latents", draw).standard_normal((num, latent_dim), dtype=np.float32)
