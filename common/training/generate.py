"""Many images of a trained generator, in parts whose number is known."""

import numpy as np

from common.contract import Trainer
from common.data.datasets import to_uint8
from common.stages import in_stage

PART = 1_000  # whole batches of both twins, so that parts change no bit


def generate_images(trainer: Trainer, latents: np.ndarray) -> np.ndarray:
    """uint8 images (N, S, S[, 3]) of latents (N, Z), N at least 1."""
    parts = [latents[start : start + PART] for start in range(0, len(latents), PART)]
    generating = in_stage(parts, f"making {len(latents):,} images", len(parts))
    return np.concatenate([to_uint8(trainer.generate(part)) for part in generating])
