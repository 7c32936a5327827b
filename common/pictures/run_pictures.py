"""The pictures of a finished run, drawn from its records and its training images: a resumed run draws the same ones."""

from collections.abc import Sequence

import numpy as np

from common.config import TrainConfig
from common.data.randomness import stream
from common.pictures.animation import animate
from common.pictures.compose import GRID_PIXELS, enlarged, framed, image_grid, labelled_grids, png
from common.pictures.loss_curves import draw_losses
from common.records.folder import ANIMATION_FILE, FRAMEWORK_NAMES, PROGRESS_FILE, RunFolder, write_atomically
from common.records.series import read_progress

NUM_BESIDE = 64  # real images, and as many generated


def draw_run(
    folder: RunFolder,
    config: TrainConfig,
    losses: Sequence[tuple[float, ...]],
    samples: np.ndarray,
    real_images: np.ndarray,
) -> None:
    """samples_100.png, real_and_generated.png, and, of what has records, losses.png and progress.gif.

    `samples` are those that are scored, `real_images` those trained on: uint8 (N, S, S[, 3]).
    """
    chosen = stream(config.seed, "real_images_shown").permutation(len(real_images))[:NUM_BESIDE]
    grids = {"real training images": real_images[np.sort(chosen)], "generated": samples[:NUM_BESIDE]}
    pictures = {
        "samples_100.png": png(enlarged(image_grid(samples[:100], num_columns=10), up_to=GRID_PIXELS)),
        "real_and_generated.png": png(framed(labelled_grids(grids, num_columns=8))),
    }
    if losses:
        pictures["losses.png"] = draw_losses(losses, f"Losses: {config.preset}, {FRAMEWORK_NAMES[folder.framework]}")
    progress = read_progress(folder.path / PROGRESS_FILE)
    if len(progress.epochs):
        pictures[ANIMATION_FILE] = animate({"": progress})
    for name, content in pictures.items():
        write_atomically(folder.path / name, content)
