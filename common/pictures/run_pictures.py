"""The pictures of a finished run, drawn from its records and its training images: a resumed run draws the same ones."""

from collections.abc import Sequence

import numpy as np

from common.config import TrainConfig, to_dict
from common.data.randomness import stream
from common.pictures.animation import animate
from common.pictures.captions import epoch_words, run_words
from common.pictures.compose import GRID_PIXELS, captioned, enlarged, image_grid, labelled_grids, png
from common.pictures.loss_curves import draw_losses
from common.records.folder import ANIMATION_FILE, FRAMEWORK_NAMES, PROGRESS_FILE, RunFolder, write_atomically
from common.records.series import read_progress
from common.stages import in_stage

NUM_BESIDE = 64  # real images, and as many generated


def draw_run(
    folder: RunFolder,
    config: TrainConfig,
    losses: Sequence[tuple[float, ...]],
    samples: np.ndarray,
    real_images: np.ndarray,
    *,
    step: int,
    note: str,
) -> None:
    """samples_100.png, real_and_generated.png, and, of what has records, losses.png and progress.gif.

    `samples` are those that are scored, `real_images` those trained on: uint8 (N, S, S[, 3]). The `note` is what must
    be known of these samples, if there is something.
    """
    model = run_words(to_dict(config), FRAMEWORK_NAMES[folder.framework])
    chosen = stream(config.seed, "real_images_shown").permutation(len(real_images))[:NUM_BESIDE]
    grids = {"real training images": real_images[np.sort(chosen)], "generated": samples[:NUM_BESIDE]}
    hundred = enlarged(image_grid(samples[:100], num_columns=10), up_to=GRID_PIXELS)
    trained = f"{model}, {epoch_words(config.epochs, step)}."
    beside = labelled_grids(grids, num_columns=8)
    pictures = {
        "samples_100.png": lambda: png(captioned(hundred, f"100 scored samples: {trained}", note)),
        "real_and_generated.png": lambda: png(captioned(beside, f"Real images beside samples: {trained}", note)),
    }
    if losses:
        pictures["losses.png"] = lambda: draw_losses(losses, f"Losses of {model}")
    progress = read_progress(folder.path / PROGRESS_FILE)
    if len(progress.epochs):
        pictures[ANIMATION_FILE] = lambda: animate({"": progress}, model=model)
    for name, drawn in in_stage(pictures.items(), "drawing the pictures", len(pictures)):
        write_atomically(folder.path / name, drawn())
