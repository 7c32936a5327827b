"""The pictures of a finished run, and what must be said of its samples."""

import numpy as np

from common.config import TrainConfig
from common.evaluation.plausibility import too_few_steps
from common.records.folder import RunFolder
from common.training.log import TrainingLog


def draw(folder: RunFolder, config: TrainConfig, log: TrainingLog, samples: np.ndarray, real_images: np.ndarray) -> str:
    """Draw what `draw_run` draws; returns the note on samples of too few steps that stands on the pictures, or none."""
    from common.pictures.run_pictures import draw_run  # the drawing library need not be there at the start

    per_epoch = len(real_images) // config.batch_size
    note = too_few_steps(samples, real_images, step=log.num_steps, steps_per_epoch=per_epoch)
    draw_run(folder, config, log.losses, samples, real_images, step=log.num_steps, note=note)
    return note
