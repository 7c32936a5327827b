"""The one training loop, for either framework, and the clock around it."""

import time

import numpy as np

from common.config import TrainConfig
from common.contract import StepMetrics, Trainer, is_averaged
from common.data.randomness import epoch_permutation, fixed_latents, training_latents
from common.errors import RunFailedError
from common.pictures.compose import image_grid, to_uint8
from common.records.checkpoint import checkpoint_header, list_checkpoints, save_checkpoint
from common.records.folder import (
    CHECKPOINTS,
    EPOCHS_FILE,
    LOSSES_FILE,
    PROGRESS_FILE,
    SAMPLES,
    RunFolder,
)
from common.records.series import EPOCHS_HEADER, LOSSES_HEADER, NUM_PICTURES
from common.training.averaging import GeneratorAverage
from common.training.log import CHUNK_STEPS, Chunk, EpochTiming, TrainingLog, epoch_rows
from common.training.progress import ProgressReporter
from common.training.start import Start
from common.training.stop_request import StopRequest


def train(
    trainer: Trainer,
    config: TrainConfig,
    train_images: np.ndarray,
    run: RunFolder,
    progress: ProgressReporter,
    stop: StopRequest,
    log: TrainingLog,
    start: Start,
) -> GeneratorAverage:
    """Run to the end of `config.epochs` epochs, or until told to stop, filling `log`.

    The trainer holds `start`'s weights. Each epoch is on disk before the next; a checkpoint comes after everything that
    belongs to it, so whatever the moment of a crash, the files beside a checkpoint hold all it needs to go on.
    """
    started = time.perf_counter()
    average = GeneratorAverage(config.generator_average, start.average or start.weights)
    log.resumed_at_step, log.losses, log.progress_images = start.step, [*start.losses], [*start.progress_images]
    steps_per_epoch = len(train_images) // config.batch_size
    try:
        if not log.progress_images and start.step == 0:
            _show_progress(trainer, average, config, run, log, epoch=0)
        elif not list_checkpoints(run.path / CHECKPOINTS):
            _bring_record(trainer, average, config, run, log, epoch=start.step // steps_per_epoch)
        for epoch in range(start.step // steps_per_epoch + 1, config.epochs + 1):
            metrics = _run_epoch(trainer, average, config, train_images, log, progress, stop, epoch=epoch)
            run.write_csv(LOSSES_FILE, LOSSES_HEADER, log.losses)
            _check_finite(metrics, log)
            if log.num_steps < epoch * steps_per_epoch:  # told to stop
                _save(trainer, average, config, run, log, epoch=epoch - 1)
                break
            _finish_epoch(trainer, average, config, run, log, epoch=epoch)
            if stop:
                break
            speed = log.epoch_timings[-1].images_per_second
            progress.epoch_done(epoch=epoch, metrics=metrics, images_per_second=speed)
    finally:
        log.wall_seconds = time.perf_counter() - started
    return average


def _run_epoch(
    trainer: Trainer,
    average: GeneratorAverage,
    config: TrainConfig,
    train_images: np.ndarray,
    log: TrainingLog,
    progress: ProgressReporter,
    stop: StopRequest,
    *,
    epoch: int,
) -> StepMetrics:
    order = epoch_permutation(config.seed, epoch - 1, len(train_images))
    num_steps = len(train_images) // config.batch_size  # the last partial batch is dropped
    measured = []
    for start in range(log.num_steps - (epoch - 1) * num_steps, num_steps, CHUNK_STEPS):
        data_started = time.perf_counter()
        count = min(CHUNK_STEPS, num_steps - start)
        real_images, latents = chunk_data(config, train_images, order, start, count, first_step=log.num_steps)
        chunk_started = time.perf_counter()
        metrics = trainer.train_chunk(real_images, latents)
        trainer.wait()
        seconds = time.perf_counter() - chunk_started
        log.data_seconds += chunk_started - data_started
        log.chunks.append(Chunk(log.num_steps + 1, count, seconds))
        log.losses += [
            (log.num_steps + index + 1, epoch, *map(float, step))
            for index, step in enumerate(zip(*metrics, strict=True))
        ]
        measured.append(metrics)
        average.update(trainer.export_weights(is_averaged), step=log.num_steps, num_steps=count)
        progress.chunk_done(
            epoch=epoch,
            step=log.num_steps,
            images_per_second=count * config.batch_size / seconds,
            metrics=metrics,
        )
        if stop or not all(np.isfinite(values).all() for values in metrics):
            break
    return StepMetrics(*(np.concatenate(values) for values in zip(*measured, strict=True)))


def chunk_data(
    config: TrainConfig,
    train_images: np.ndarray,
    order: np.ndarray,
    start: int,
    count: int,
    *,
    first_step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (K, B, S, S[, 3]) of steps `start`.. of this epoch, and their latents (K, L, B, Z)."""
    chosen = order[start * config.batch_size : (start + count) * config.batch_size]
    real_images = train_images[chosen].reshape(count, config.batch_size, *train_images.shape[1:])
    latents = [
        training_latents(
            config.seed,
            step,
            num_batches=config.latent_batches,
            batch_size=config.batch_size,
            latent_dim=config.latent_dim,
        )
        for step in range(first_step, first_step + count)
    ]
    return real_images, np.stack(latents)


def _bring_record(
    trainer: Trainer, average: GeneratorAverage, config: TrainConfig, run: RunFolder, log: TrainingLog, *, epoch: int
) -> None:
    """A run that goes on in another folder can be resumed there from its first moment, and shows what came before."""
    for past, images in enumerate(log.progress_images, start=epoch + 1 - len(log.progress_images)):
        _write_grid(run, images, epoch=past)
    if log.progress_images:
        _write_progress(run, log, epoch=epoch)
    run.write_csv(LOSSES_FILE, LOSSES_HEADER, log.losses)
    _save(trainer, average, config, run, log, epoch=epoch)


def _finish_epoch(
    trainer: Trainer, average: GeneratorAverage, config: TrainConfig, run: RunFolder, log: TrainingLog, *, epoch: int
) -> None:
    started = time.perf_counter()
    _show_progress(trainer, average, config, run, log, epoch=epoch)
    run.write_csv(EPOCHS_FILE, EPOCHS_HEADER, epoch_rows(log.losses, config.batch_size))
    _save(trainer, average, config, run, log, epoch=epoch)
    evaluation_seconds = time.perf_counter() - started
    log.evaluation_seconds += evaluation_seconds

    num_images = sum(row[1] == epoch and row[0] > log.resumed_at_step for row in log.losses) * config.batch_size
    training_seconds = log.training_seconds - sum(timing.training_seconds for timing in log.epoch_timings)
    data_seconds = log.data_seconds - sum(timing.data_seconds for timing in log.epoch_timings)
    log.epoch_timings.append(
        EpochTiming(epoch, training_seconds, data_seconds, evaluation_seconds, num_images / training_seconds)
    )


def _save(
    trainer: Trainer, average: GeneratorAverage, config: TrainConfig, run: RunFolder, log: TrainingLog, *, epoch: int
) -> None:
    """A checkpoint, and the status that points to it; `epoch` is the last complete one."""
    started = time.perf_counter()
    header = checkpoint_header(config, framework=run.framework, epoch=epoch)
    save_checkpoint(
        run.path / CHECKPOINTS, trainer.export_weights(), average.weights, step=log.num_steps, header=header
    )
    run.write_status("running", message="", step=log.num_steps, epoch=epoch)
    log.checkpoint_seconds += time.perf_counter() - started


def _show_progress(
    trainer: Trainer, average: GeneratorAverage, config: TrainConfig, run: RunFolder, log: TrainingLog, *, epoch: int
) -> None:
    latents = fixed_latents(config.seed, num=NUM_PICTURES, latent_dim=config.latent_dim)
    with average.applied(trainer):
        images = to_uint8(trainer.generate(latents))
    log.progress_images.append(images)
    _write_grid(run, images, epoch=epoch)
    _write_progress(run, log, epoch=epoch)


def _write_grid(run: RunFolder, images: np.ndarray, *, epoch: int) -> None:
    run.write_png(f"{SAMPLES}/epoch_{epoch:03d}.png", image_grid(images, num_columns=8))


def _write_progress(run: RunFolder, log: TrainingLog, *, epoch: int) -> None:
    """All grids' images so far; the last is of `epoch`."""
    run.write_npz(
        PROGRESS_FILE,
        images=np.stack(log.progress_images),
        epochs=np.arange(epoch + 1 - len(log.progress_images), epoch + 1),
    )


def _check_finite(metrics: StepMetrics, log: TrainingLog) -> None:
    """Raise RunFailedError for the earliest step with a NaN or an infinity, naming what went first."""
    first_step = log.num_steps - len(metrics.discriminator_loss) + 1
    for offset, values in enumerate(zip(*metrics, strict=True)):
        for name, value in zip(StepMetrics._fields, values, strict=True):
            if not np.isfinite(value):
                raise RunFailedError(
                    f"{name} is {value} at step {first_step + offset}: the run stops here; lower the learning "
                    f"rates, or look at the last samples and checkpoints in the run folder"
                )
