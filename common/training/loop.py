"""The one training loop, for either framework, and its clock.

Timed as training: `train_chunk` until the device is done, so copying indices and latents there, the steps, the
generator's average, and reading the losses back. Not timed: waiting for the next chunk to be drawn, the bar, sample
grids, quick scores, checkpoints, files, waiting for a turn.
The published speed leaves out the first chunk and short ones: `steady_chunks` in `common/records/series.py`.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from common.config import TrainConfig, to_dict
from common.contract import StepMetrics, Trainer
from common.data.datasets import to_uint8
from common.data.randomness import fixed_latents
from common.errors import RunFailedError
from common.pictures.captions import epoch_words, run_words
from common.pictures.compose import captioned, enlarged, image_grid
from common.records.checkpoint import checkpoint_header, list_checkpoints, save_checkpoint
from common.records.folder import (
    CHECKPOINTS,
    EPOCHS_FILE,
    LOSSES_FILE,
    PROGRESS_FILE,
    SAMPLES,
    RunFolder,
)
from common.records.series import EPOCHS_HEADER, LOSSES_HEADER, NUM_PICTURES, EpochQuality
from common.training.chunk_data import epoch_chunks, fitting_chunk_steps
from common.training.log import Chunk, EpochTiming, TrainingLog, epoch_rows
from common.training.machine_load import read_cpu_time
from common.training.progress import ProgressReporter
from common.training.start import Start
from common.training.stop_request import StopRequest
from common.training.turns import EPOCH, Alone


@dataclass
class TrainingLoop:
    """One run's training: `run()` goes to the end of `config.epochs` epochs, or until told to stop, and fills `log`.

    The trainer holds `start`'s weights, and the images. Each epoch is on disk before the next; a checkpoint comes after
    everything that belongs to it, so whatever the moment of a crash, the files beside it hold all it needs to go on.
    """

    trainer: Trainer
    config: TrainConfig
    num_images: int  # to train on
    start: Start
    folder: RunFolder
    progress: ProgressReporter
    stop: StopRequest = field(default_factory=StopRequest)
    log: TrainingLog = field(default_factory=TrainingLog)
    score_epoch: Callable[[Trainer], EpochQuality] | None = None  # of what the averaged generator makes
    turns: Alone = field(default_factory=Alone)  # one is taken before each epoch
    is_on_cpu: bool = True  # where chunks have always the same length

    def __post_init__(self) -> None:
        start, log = self.start, self.log
        log.resumed_at_step, log.losses, log.progress_images = start.step, [*start.losses], [*start.progress_images]
        log.epoch_quality = dict(start.epoch_quality)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the images; the last partial batch is dropped."""
        return self.num_images // self.config.batch_size

    def run(self) -> None:
        """Train."""
        started = time.perf_counter()
        try:
            self._record_start()
            for epoch in range(self.start.step // self.steps_per_epoch + 1, self.config.epochs + 1):
                round_began_at = self.turns.take(EPOCH, self.stop)
                metrics = self._run_epoch(epoch)
                self.folder.write_csv(LOSSES_FILE, LOSSES_HEADER, self.log.losses)
                _check_finite(metrics, last_step=self.log.num_steps)
                if self.log.num_steps < epoch * self.steps_per_epoch:  # told to stop
                    self._save(last_epoch=epoch - 1)
                    break
                self._finish_epoch(epoch, round_began_at)
                self._score_epoch(epoch)
                if self.stop:
                    break
                speed = self.log.epoch_timings[-1].images_per_second
                self.progress.epoch_done(epoch=epoch, metrics=metrics, images_per_second=speed)
        finally:
            not_counted = self.log.epoch_quality_seconds + self.turns.waiting_seconds
            self.log.wall_seconds = time.perf_counter() - started - not_counted

    def _record_start(self) -> None:
        """A run that goes on in another folder shows what came before, and can be resumed there at once."""
        log, last_epoch = self.log, self.start.step // self.steps_per_epoch
        if not log.progress_images and self.start.step == 0:
            self._show_progress(epoch=0)
        elif not list_checkpoints(self.folder.path / CHECKPOINTS):
            for past, images in enumerate(log.progress_images, start=last_epoch + 1 - len(log.progress_images)):
                self._write_grid(images, epoch=past)
            if log.progress_images:
                self._write_progress(last_epoch=last_epoch)
            self.folder.write_csv(LOSSES_FILE, LOSSES_HEADER, log.losses)
            self._save(last_epoch=last_epoch)
        if log.losses and self.start.step == last_epoch * self.steps_per_epoch:  # it was ended before it was scored
            self._score_epoch(last_epoch)

    def _run_epoch(self, epoch: int) -> StepMetrics:
        config, log = self.config, self.log
        chunks = epoch_chunks(config, self.num_images, first_step=log.num_steps, length=lambda: log.chunk_steps)
        measured = []
        data_started = time.perf_counter()
        with contextlib.closing(chunks):
            for chunk in chunks:
                cpu_before, chunk_started = read_cpu_time(), time.perf_counter()
                metrics = self.trainer.train_chunk(*chunk)
                self.trainer.wait()
                count, seconds = len(chunk.indices), time.perf_counter() - chunk_started
                spent = read_cpu_time().since(cpu_before)
                log.add_chunk(Chunk(log.num_steps + 1, count, seconds, *spent), metrics, epoch=epoch)
                log.data_seconds += chunk_started - data_started
                if not self.is_on_cpu and len(log.chunks) == 2:  # the first has compiled
                    log.chunk_steps = fitting_chunk_steps(seconds / count)
                measured.append(metrics)
                self.progress.chunk_done(
                    epoch=epoch,
                    step=log.num_steps,
                    images_per_second=count * config.batch_size / seconds,
                    metrics=metrics,
                )
                if self.stop or not all(np.isfinite(values).all() for values in metrics):
                    break
                data_started = time.perf_counter()
        return StepMetrics(*(np.concatenate(values) for values in zip(*measured, strict=True)))

    def _finish_epoch(self, epoch: int, round_began_at: str | None) -> None:
        log, batch_size = self.log, self.config.batch_size
        log.conditions.look()
        started = time.perf_counter()
        self._show_progress(epoch=epoch)
        self._write_epochs()
        self._save(last_epoch=epoch)
        evaluation_seconds = time.perf_counter() - started
        log.evaluation_seconds += evaluation_seconds

        num_images = sum(row[1] == epoch and row[0] > log.resumed_at_step for row in log.losses) * batch_size
        training_seconds = log.training_seconds - sum(timing.training_seconds for timing in log.epoch_timings)
        data_seconds = log.data_seconds - sum(timing.data_seconds for timing in log.epoch_timings)
        log.epoch_timings.append(
            EpochTiming(
                epoch, training_seconds, data_seconds, evaluation_seconds, num_images / training_seconds, round_began_at
            )
        )

    def _score_epoch(self, epoch: int) -> None:
        """The quick score, which no checkpoint waits for: told to stop, it ends at once and is made up for later."""
        if self.score_epoch is None or epoch in self.log.epoch_quality or self.stop:
            return
        started = time.perf_counter()
        self.stop.at_once = True
        try:
            self.log.epoch_quality[epoch] = self.score_epoch(self.trainer)
        finally:
            self.stop.at_once = False
            self.log.epoch_quality_seconds += time.perf_counter() - started
        self._write_epochs()

    def _write_epochs(self) -> None:
        log = self.log
        rows = epoch_rows(log.losses, self.config.batch_size, log.epoch_quality)
        self.folder.write_csv(EPOCHS_FILE, EPOCHS_HEADER, rows)

    def _save(self, *, last_epoch: int) -> None:
        """A checkpoint, and the status that points to it; `last_epoch` is the last complete one."""
        started = time.perf_counter()
        header = checkpoint_header(self.config, framework=self.folder.framework, epoch=last_epoch)
        weights, average, step = self.trainer.export_weights(), self.trainer.export_average(), self.log.num_steps
        save_checkpoint(self.folder.path / CHECKPOINTS, weights, average, step=step, header=header)
        self.folder.write_status("running", message="", step=step, epoch=last_epoch)
        self.log.checkpoint_seconds += time.perf_counter() - started

    def _show_progress(self, *, epoch: int) -> None:
        latents = fixed_latents(self.config.seed, num=NUM_PICTURES, latent_dim=self.config.latent_dim)
        images = to_uint8(self.trainer.generate(latents))
        self.log.progress_images.append(images)
        self._write_grid(images, epoch=epoch)
        self._write_progress(last_epoch=epoch)

    def _write_grid(self, images: np.ndarray, *, epoch: int) -> None:
        # Without the framework: what came before a run was resumed may be the other's.
        trained = epoch_words(epoch, epoch * self.steps_per_epoch)
        words = f"{len(images)} samples of {run_words(to_dict(self.config))}, {trained}."
        picture = captioned(enlarged(image_grid(images, num_columns=8)), words)
        self.folder.write_png(f"{SAMPLES}/epoch_{epoch:03d}.png", picture)

    def _write_progress(self, *, last_epoch: int) -> None:
        grids = self.log.progress_images
        epochs = np.arange(last_epoch + 1 - len(grids), last_epoch + 1)
        self.folder.write_npz(PROGRESS_FILE, images=np.stack(grids), epochs=epochs)


def _check_finite(metrics: StepMetrics, *, last_step: int) -> None:
    """Raise RunFailedError for the earliest step with a NaN or an infinity, naming what went first."""
    first_step = last_step - len(metrics.discriminator_loss) + 1
    for offset, values in enumerate(zip(*metrics, strict=True)):
        for name, value in zip(StepMetrics._fields, values, strict=True):
            if not np.isfinite(value):
                raise RunFailedError(
                    f"{name} is {value} at step {first_step + offset}: the run stops here; lower the learning "
                    f"rates, or look at the last samples and checkpoints in the run folder"
                )
