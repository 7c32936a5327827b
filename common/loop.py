"""The one training loop, for either framework, and the clock around it."""

import time
from dataclasses import dataclass, field

import numpy as np

from common.averaging import GeneratorAverage
from common.checkpoint import save_checkpoint
from common.config import TrainConfig, to_dict
from common.contract import StepMetrics, Trainer
from common.errors import RunFailedError
from common.images import image_grid, to_uint8
from common.progress import ProgressReporter
from common.randomness import epoch_permutation, fixed_latents, training_latents
from common.records import EPOCHS_HEADER, LOSSES_HEADER, RunFolder
from common.stop_request import StopRequest

# Steps of one `train_chunk`: long enough to hide the round trip, short enough for a lively bar and a prompt Ctrl-C.
CHUNK_STEPS = 16
NUM_FIXED_LATENTS = 64


@dataclass(frozen=True)
class Chunk:
    """How long one `train_chunk` took, from the call until the device was idle."""

    step: int  # its first step, counted from 1
    num_steps: int
    seconds: float


@dataclass
class TrainingLog:
    """Everything the loop measured."""

    chunks: list[Chunk] = field(default_factory=list)
    losses: list[tuple[float, ...]] = field(default_factory=list)  # rows of losses.csv
    epochs: list[tuple[float, ...]] = field(default_factory=list)  # rows of epochs.csv
    progress_images: list[np.ndarray] = field(default_factory=list)  # one (64, S, S[, 3]) an epoch, uint8
    data_seconds: float = 0.0  # gathering batches and drawing latents
    evaluation_seconds: float = 0.0  # sample grids, checkpoints, files: what follows an epoch's last step
    wall_seconds: float = 0.0  # of the whole loop

    @property
    def num_steps(self) -> int:
        """Steps done so far."""
        return len(self.losses)

    @property
    def training_seconds(self) -> float:
        """Time inside `train_chunk`, the first chunk (which compiles) included."""
        return sum(chunk.seconds for chunk in self.chunks)

    @property
    def loop_overhead_fraction(self) -> float:
        """Share of the loop's wall time that was not spent inside `train_chunk`, sample grids and files included."""
        return (self.wall_seconds - self.training_seconds) / self.wall_seconds


def train(
    trainer: Trainer,
    config: TrainConfig,
    train_images: np.ndarray,
    run: RunFolder,
    progress: ProgressReporter,
    stop: StopRequest,
    log: TrainingLog,
) -> GeneratorAverage:
    """Run `config.epochs` epochs, or until told to stop, filling `log`; each epoch is on disk before the next."""
    started = time.perf_counter()
    average = GeneratorAverage(config.generator_average, trainer.export_weights())
    try:
        _show_progress(trainer, average, config, run, log, epoch=0)
        for epoch in range(1, config.epochs + 1):
            metrics = _run_epoch(trainer, average, config, train_images, log, progress, stop, epoch=epoch)
            run.write_csv("losses.csv", LOSSES_HEADER, log.losses)
            _check_finite(metrics, log)
            _finish_epoch(trainer, average, config, run, log, epoch=epoch)
            if stop:
                break
            progress.epoch_done(epoch=epoch, metrics=metrics, images_per_second=log.epochs[-1][-1])
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
    for start in range(0, num_steps, CHUNK_STEPS):
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
        average.update(trainer.export_weights(), step=log.num_steps, num_steps=count)
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


def _finish_epoch(
    trainer: Trainer, average: GeneratorAverage, config: TrainConfig, run: RunFolder, log: TrainingLog, *, epoch: int
) -> None:
    started = time.perf_counter()
    _show_progress(trainer, average, config, run, log, epoch=epoch)
    header = {"config": to_dict(config), "epoch": epoch, "framework": run.path.name}
    save_checkpoint(
        run.path / "checkpoints", trainer.export_weights(), average.weights, step=log.num_steps, header=header
    )
    evaluation_seconds = time.perf_counter() - started
    log.evaluation_seconds += evaluation_seconds

    num_images = sum(row[1] == epoch for row in log.losses) * config.batch_size
    totals = (log.training_seconds, log.data_seconds)
    training_seconds, data_seconds = (
        total - sum(row[column] for row in log.epochs) for column, total in enumerate(totals, start=2)
    )
    images_per_second = num_images / training_seconds
    log.epochs.append((epoch, num_images, training_seconds, data_seconds, evaluation_seconds, images_per_second))
    run.write_csv("epochs.csv", EPOCHS_HEADER, log.epochs)
    run.write_status("running", message="", step=log.num_steps, epoch=epoch)


def _show_progress(
    trainer: Trainer, average: GeneratorAverage, config: TrainConfig, run: RunFolder, log: TrainingLog, *, epoch: int
) -> None:
    latents = fixed_latents(config.seed, num=NUM_FIXED_LATENTS, latent_dim=config.latent_dim)
    with average.applied(trainer):
        images = to_uint8(trainer.generate(latents))
    log.progress_images.append(images)
    run.write_png(f"samples/epoch_{epoch:03d}.png", image_grid(images, num_columns=8))
    run.write_npz("progress.npz", images=np.stack(log.progress_images), epochs=np.arange(len(log.progress_images)))


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
