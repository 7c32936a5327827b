"""One framework's run, from flags to a finished run folder: the same for both, timed phase by phase."""

import contextlib
import shlex
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rich.console import Console

from common.config import to_dict
from common.contract import Framework, InspectableTrainer, Weights
from common.data.datasets import Dataset, load_dataset, prepare_dataset
from common.data.initial_weights import initial_weights
from common.errors import RunFailedError, UserError
from common.evaluation import Evaluation, load_feature_network
from common.networks.build import build_architecture, count_parameters
from common.networks.layers import Architecture
from common.options import RunOptions
from common.records.environment import describe_environment, source_hash
from common.records.folder import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    ERROR_FILE,
    FRAMEWORK_NAMES,
    LOSSES_FILE,
    METRICS_FILE,
    SAMPLES_FILE,
    TIMING_FILE,
    RunFolder,
    write_atomically,
)
from common.records.origin import Origin, check_same_config, find_origin
from common.records.series import LOSSES_HEADER
from common.training.averaging import GeneratorAverage
from common.training.log import TrainingLog, summarise_timing
from common.training.loop import train
from common.training.progress import ConsoleProgress
from common.training.scoring import Samples, sample, score
from common.training.start import Start, start_of
from common.training.stop_request import StopRequest

PACKAGES = {"torch": "torch", "jax": "jax flax optax"}
Result = TypeVar("Result")


def run_training(framework: str, load_framework: Callable[[], Framework], options: RunOptions, console: Console) -> int:
    """Train, sample, score and record; returns the exit code (0, or 130 / 143 when told to stop).

    Whatever can be wrong with the flags raises UserError before anything is written.
    """
    started = time.perf_counter()
    run = Run(framework, options, console)
    with run.locks:
        run.check(load_framework)
        if options.dry_run:
            console.print(run.implementation.device_name(run.device), highlight=False, markup=False, soft_wrap=True)
            return 0
        run.open_folder()
        return _carry_out(run, started)


def _carry_out(run: "Run", started: float) -> int:
    with run.stop:
        try:
            run.train()
            run.stop.at_once = True  # the last checkpoint is written: nothing is left to save first
            if not run.stop:
                samples = run.sample()
                run.draw(samples)
                run.score(samples)
                run.timing["total_seconds"] = time.perf_counter() - started
                run.close("finished", "")
                return 0
            run.timing["total_seconds"] = time.perf_counter() - started
            run.close_interrupted()
            return run.stop.exit_code
        except KeyboardInterrupt:
            run.close_interrupted()
            raise
        except OSError as error:
            message = f"{error.filename or 'a file'} could not be written: {error.strerror or error}"
            with contextlib.suppress(OSError):  # of a full disk, little can be written down
                run.close("failed", message)
            raise RunFailedError(f"{run.name}: {message}; make room, then go on with {run.resume_command}") from None
        except Exception as error:
            write_atomically(run.folder.path / ERROR_FILE, traceback.format_exc().encode("utf-8", "replace"))
            message = (str(error) or type(error).__name__).splitlines()[0]
            run.close("failed", message)
            raise RunFailedError(f"{run.name}: {message} (details in {run.folder.path / ERROR_FILE})") from None


def load_training_data(options: RunOptions) -> Dataset:
    """The dataset at the network's size, and the evaluator if it will be scored: all that can be wrong with either."""
    config = options.config
    dataset = load_dataset(config.dataset, options.data_dir, train_size=config.train_size)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    num_images = len(dataset.train_images)
    if config.batch_size > num_images:
        raise UserError(
            f"batch_size is {config.batch_size}, but there are only {num_images} training images: "
            f"pass a smaller --batch-size or a larger --train-size"
        )
    if is_scored(dataset):
        load_feature_network()  # a damaged network is better found now than after the training
    return dataset


def is_scored(dataset: Dataset) -> bool:
    """The metrics know only the digits of MNIST."""
    return dataset.name == "mnist" and dataset.image_channels == 1


class Run:
    """The phases of one run, in the order of the methods, and what they share."""

    dataset: Dataset
    architecture: Architecture
    implementation: Framework
    trainer: InspectableTrainer
    average: GeneratorAverage
    start: Start
    folder: RunFolder

    def __init__(self, framework: str, options: RunOptions, console: Console) -> None:
        self.framework = framework
        self.name = FRAMEWORK_NAMES[framework]
        self.options = options
        self.config = options.config
        self.console = console
        self.timing: dict[str, Any] = {}
        self.log = TrainingLog()
        self.stop = StopRequest()
        self.locks = contextlib.ExitStack()
        self.origin = self._find_origin()

    @property
    def resumes_in_place(self) -> bool:
        """Whether the folder of the run that is resumed is this run's too."""
        origin = self.origin
        return bool(origin and origin.is_run and origin.framework == self.framework and self.options.output is None)

    @property
    def resume_command(self) -> str:
        """What goes on where this run ended."""
        return f"python -m {self.framework}_impl --resume {shlex.quote(str(self.folder.path))}"

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the training images."""
        return len(self.dataset.train_images) // self.config.batch_size

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def check(self, load_framework: Callable[[], Framework]) -> None:
        """Find whatever is wrong before anything is written; a dry run leaves the data to who asked for it."""
        build_architecture(self.config)
        if not self.options.dry_run:
            self.dataset = self._timed("data_loading_seconds", lambda: load_training_data(self.options))
            self.architecture = build_architecture(self.config, image_channels=self.dataset.image_channels)
            if self.origin and self.resumes_in_place:
                self.folder = RunFolder.reopen(self.origin.path, self.framework)
                self.locks.callback(self.folder.unlock)
                self.origin = self._find_origin()  # until now another process may have changed it
            self.start, damaged = start_of(
                self.origin, self.config, self.architecture, steps_per_epoch=self.steps_per_epoch
            )
            for sentence in damaged:
                self.console.print(f"{sentence}; going on from the one before it", highlight=False, soft_wrap=True)
        try:
            self.implementation = self._timed("import_seconds", load_framework)
        except ImportError as error:
            raise UserError(f"{self.name} is not installed ({error}): pip install {PACKAGES[self.framework]}") from None
        self.device_flags = self.implementation.configure(num_threads=self.options.num_threads)
        self.device = self.implementation.select_device(self.options.device)

    def open_folder(self) -> None:
        """Create the run folder, unless it is there, and write down what is about to happen."""
        if not self.resumes_in_place:
            self.folder = RunFolder.create(self.options.folder / self.framework)
            self.locks.callback(self.folder.unlock)
            if self.options.output is None:
                self.console.print(f"Results go to {self.folder.path}", highlight=False, soft_wrap=True)
        self.folder.write_json(CONFIG_FILE, to_dict(self.config))
        # The two belong to the process that trained; one that only scores again leaves both alone.
        if self.start.step < self.num_steps or not (self.folder.path / ENVIRONMENT_FILE).exists():
            (self.folder.path / TIMING_FILE).unlink(missing_ok=True)
            self._write_environment()
        self.folder.write_status(
            "running", message="", step=self.start.step, epoch=self.start.step // self.steps_per_epoch
        )

    def train(self) -> None:
        """Build the trainer from the common initial weights and run the loop."""
        self.trainer = self._timed("build_seconds", lambda: self._build_trainer(self.start.weights))
        with ConsoleProgress(
            self.name, num_epochs=self.config.epochs, num_steps=self.num_steps, console=self.console
        ) as progress:
            self.average = train(
                self.trainer,
                self.config,
                self.dataset.train_images,
                self.folder,
                progress,
                self.stop,
                self.log,
                self.start,
            )
        # Before scoring, whose arrays would count as the framework's.
        self.timing["peak_memory_bytes"] = self.implementation.peak_memory_bytes(self.device)

    def sample(self) -> Samples:
        """Generate the images that are scored, in eval mode."""
        with self.average.applied(self.trainer):
            samples = self._timed("generate_seconds", lambda: sample(self.trainer, self.config))
        self.folder.write_npz(SAMPLES_FILE, **samples._asdict())
        return samples

    def draw(self, samples: Samples) -> None:
        """The pictures of the folder, of finished runs alone: an interrupted one is resumed first."""
        from common.pictures.run_pictures import draw_run

        images = self.dataset.train_images
        self._timed(
            "drawing_seconds", lambda: draw_run(self.folder, self.config, self.log.losses, samples.images, images)
        )

    def score(self, samples: Samples) -> None:
        """Score the samples if they are digits."""
        if not is_scored(self.dataset):
            message = f"{self.dataset.name} is not scored: the metrics know only the digits of MNIST"
            self.console.print(message, highlight=False)
            return
        self.console.print(f"{self.name}: scoring the samples", highlight=False)
        # Those of an earlier scoring are not this one's, whatever comes of it.
        (self.folder.path / METRICS_FILE).unlink(missing_ok=True)
        try:
            evaluation = self._timed("scoring_seconds", lambda: self._score(samples))
        except UserError as error:  # of samples that show nothing
            self.console.print(f"{self.name}: not scored: {error}", highlight=False, soft_wrap=True)
            return
        self.folder.write_json(METRICS_FILE, evaluation.to_json())

    def close_interrupted(self) -> None:
        """Record that the run was told to stop, and say what goes on with it."""
        message = f"stopped at step {self.log.num_steps} of {self.num_steps}; go on with {self.resume_command}"
        self.close("interrupted", message)
        self.console.print(f"{self.name}: {message}", highlight=False, soft_wrap=True)

    def close(self, status: str, message: str) -> None:
        """Write how the time was spent and how the run ended; the status comes last."""
        if self.log.chunks:
            self.folder.write_csv(LOSSES_FILE, LOSSES_HEADER, self.log.losses)
            images_per_epoch = self.steps_per_epoch * self.config.batch_size
            timing = self.timing | summarise_timing(self.log, self.config, images_per_epoch)
            self.folder.write_json(TIMING_FILE, timing)
        num_epochs = self.log.num_steps // self.steps_per_epoch  # complete ones
        self.folder.write_status(status, message=message, step=self.log.num_steps, epoch=num_epochs)

    def _score(self, samples: Samples) -> Evaluation:
        return score(
            self.trainer,
            self.average,
            self.config,
            self.dataset,
            samples,
            create_untrained=lambda: self._build_trainer(initial_weights(self.config, self.architecture)),
            num_draws=self.options.draws,
            quick=self.options.quick_scoring,
            threads=self.options.num_threads,
        )

    def _write_environment(self) -> None:
        self.folder.write_json(
            ENVIRONMENT_FILE,
            {
                "framework": self.framework,
                "framework_name": self.name,
                "device": self.implementation.device_name(self.device),
                "device_flags": self.device_flags,
                "num_threads": self.options.num_threads,
                "num_parameters": count_parameters(self.architecture),
                "resumed_from": str(self.origin.path) if self.origin else None,
                "resumed_at_step": self.start.step,
                "source_hash": source_hash(self.framework),
                **describe_environment(),
            },
        )

    def _find_origin(self) -> Origin | None:
        if self.options.resume is None:
            return None
        origin = find_origin(self.options.resume, self.framework)
        check_same_config(self.config, origin)
        return origin

    def _build_trainer(self, weights: Weights) -> InspectableTrainer:
        trainer = self.implementation.create_trainer(self.config, self.architecture, self.device)
        trainer.load_weights(weights)
        trainer.wait()
        return trainer

    def _timed(self, name: str, work: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = work()
        self.timing[name] = time.perf_counter() - started
        return result
