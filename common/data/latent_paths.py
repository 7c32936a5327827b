"""Latents from a file, and paths through the latent space."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.safe_read import MAX_NPZ_BYTES, one_line, open_bounded


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


def read_latents(path: Path, *, latent_dim: int) -> np.ndarray:
    """What --latents names, a .npy file or the array `latents` of an .npz file, as float32 (N, latent_dim)."""
    name = one_line(path)
    try:
        with open_bounded(path, limit=MAX_NPZ_BYTES) as file:  # np.load would not close a damaged archive
            loaded = np.load(file, allow_pickle=False)
            loaded = loaded if isinstance(loaded, np.ndarray) else loaded["latents"]
    except UserError as error:
        raise UserError(f"--latents: {error}: pass a .npy or .npz file") from None
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error):
        # NumPy's own words for it advise to unpickle the file.
        raise UserError(
            f"--latents: {name} is damaged or foreign: pass a .npy file, or a .npz file with an array `latents`"
        ) from None
    held = f"{loaded.dtype} {loaded.shape}"
    if loaded.dtype.kind == "f":  # NumPy's own choice is float64
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            loaded = loaded.astype(np.float32)
    if loaded.dtype != np.float32 or loaded.ndim != 2 or loaded.shape[1] != latent_dim or not len(loaded):
        wanted = f"float32 (N, {latent_dim})"
        raise UserError(f"--latents: {name} holds {held}, but the generator takes {wanted}")
    if not np.isfinite(loaded).all():
        raise UserError(f"--latents: {name} holds NaN or infinity")
    return loaded
