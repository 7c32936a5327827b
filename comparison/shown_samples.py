"""The few of a run's samples that its evaluation names, read from samples.npz."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.config import MAX_IMAGE_SIZE
from common.untrusted import read_npz


def read_shown_samples(path: Path, evaluation: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Index to image, uint8 (S, S), S at most 256; empty without the file, which is large and may be deleted.

    Any other file, and an index that is not in it, raises ValueError.
    """
    named = [index for examples in evaluation.get("class_examples", ()) for index in examples]
    named += [pair["sample"] for pair in evaluation.get("nearest_neighbours", ())]
    if not named or not path.exists():
        return {}
    try:
        images = read_npz(path, {"images": np.uint8})["images"]
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not 1 <= images.shape[1] <= MAX_IMAGE_SIZE:
        raise ValueError(f"{path.name} has images {images.shape}")
    if max(named) >= len(images):
        raise ValueError(f"metrics.json names sample {max(named)}, but {path.name} has {len(images)}")
    return {index: images[index].copy() for index in named}  # a view would keep all of them in memory
