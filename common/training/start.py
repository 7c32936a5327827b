"""Where a run begins: at its initial weights, or where a checkpoint of either framework left off."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common.config import TrainConfig, differing_fields, to_dict
from common.contract import Weights
from common.data.initial_weights import initial_weights
from common.errors import UserError
from common.networks.layers import Architecture
from common.records.checkpoint import Checkpoint, list_checkpoints, load_checkpoint, load_newest
from common.records.checkpoint_check import check_tensors, checked_step
from common.records.folder import CHECKPOINTS, CONFIG_FILE, EPOCHS_FILE, LOSSES_FILE, PROGRESS_FILE
from common.records.origin import Origin, config_of
from common.records.series import EpochQuality, LossesRow, read_epochs, read_losses, read_progress
from common.safe_read import one_line


@dataclass(frozen=True)
class Start:
    """What the loop needs to begin at `step` as if it had made all steps before; rows as in losses.csv."""

    weights: Weights
    average: Weights | None = None  # none yet: it begins as the weights
    step: int = 0
    losses: list[tuple[float, ...]] = field(default_factory=list)
    progress_images: list[np.ndarray] = field(default_factory=list)
    epoch_quality: dict[int, EpochQuality] = field(default_factory=dict)


def start_of(
    origin: Origin | None, config: TrainConfig, architecture: Architecture, *, steps_per_epoch: int
) -> tuple[Start, list[str]]:
    """Where to begin, and a sentence on every damaged checkpoint that had to be passed over."""
    if origin is None:
        return Start(initial_weights(config, architecture)), []
    if not origin.is_run:
        return _start_from(load_checkpoint(origin.path), origin, config, architecture, steps_per_epoch), []
    folder = origin.path / CHECKPOINTS
    checkpoint, damaged = load_newest(folder)
    if checkpoint is None and list_checkpoints(folder):
        raise UserError(f"{'; '.join(damaged)}: no checkpoint of {origin.path} is intact, train it again")
    if checkpoint is None:  # it ended before its first checkpoint
        return Start(initial_weights(config, architecture)), damaged
    return _start_from(checkpoint, origin, config, architecture, steps_per_epoch), damaged


def _start_from(
    checkpoint: Checkpoint, origin: Origin, config: TrainConfig, architecture: Architecture, steps_per_epoch: int
) -> Start:
    if origin.run is not None:
        _check_unedited(origin, config_of(checkpoint.header, origin.path))
    try:
        check_tensors(checkpoint.weights, checkpoint.average, architecture, config)
        step = checked_step(checkpoint, config, steps_per_epoch=steps_per_epoch)
        if origin.run is None:
            return Start(checkpoint.weights, checkpoint.average, step)
        # What comes after the checkpoint is made anew.
        losses = _losses_up_to(step, origin.run / LOSSES_FILE)
        channels = (architecture.image_channels,) if architecture.image_channels > 1 else ()
        progress = read_progress(origin.run / PROGRESS_FILE).up_to(
            step // steps_per_epoch, image_shape=(architecture.image_size, architecture.image_size, *channels)
        )
        rows = read_epochs(origin.run / EPOCHS_FILE)
        scored = {row.epoch: row.quality for row in rows if row.frechet_distance is not None and row.step <= step}
    except ValueError as error:
        raise UserError(f"{origin.path} cannot be resumed: {one_line(error)}") from None
    return Start(checkpoint.weights, checkpoint.average, step, [*losses], progress, scored)


def _check_unedited(origin: Origin, trained: TrainConfig) -> None:
    """Raise UserError where config.json no longer says what the checkpoint was trained with; `epochs` may grow."""
    fields = differing_fields(to_dict(replace(trained, epochs=origin.config.epochs)), to_dict(origin.config))
    if fields:
        was = ", ".join(f"{name} is {getattr(origin.config, name)}, was {getattr(trained, name)}" for name in fields)
        raise UserError(
            f"{origin.path / CONFIG_FILE} was edited after training began ({was}): put it back, or start a new run"
        )


def _losses_up_to(step: int, path: Path) -> list[LossesRow]:
    """None at all of a run that began there."""
    losses = read_losses(path)
    if not path.exists() or (losses and losses[-1].step < step):
        raise ValueError(f"{path.name} lacks steps up to {step}: name the checkpoint alone, elsewhere")
    return [row for row in losses if row.step <= step]
