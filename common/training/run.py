"""One framework's run, from flags to a finished run folder: the same for both, timed phase by phase.

Long, since a run's phases stand here in the order in which they happen.
"""

import contextlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from rich.console import Console

from common.config import TrainConfig, to_dict
from common.console import printable
from common.contract import Framework, InspectableTrainer, Weights
from common.data.initial_weights import initial_weights
from common.errors import RunFailedError, UserError, exit_code
from common.networks.build import build_architecture, count_parameters
from common.options import RunOptions
from common.records.accelerator import describe_accelerator
from common.records.environment import describe_environment, own_command, source_hash
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
    check_new,
    write_atomically,
)
from common.records.series import LOSSES_HEADER
from common.stages import shown_on
from common.trackers import check_tracker, log_run
from common.training.draw import draw
from common.training.epoch_quality import epoch_scorer
from common.training.log import PhaseTimes, TrainingLog, summarise_timing
from common.training.loop import TrainingLoop
from common.training.prepare import Machine, Plan, find_resumed, make_plan, plan_records, prepare_machine
from common.training.scoring import Samples, sample, score
from common.training.stop_request import StopRequest
from common.training.turns import FINISH, Alone


def run_training(
    framework: str, load_framework: Callable[[], Framework], options: RunOptions, console: Console, turns: Alone
) -> int:
    """Train, sample, score and record; returns the exit code (0, or 129, 130, 143 when told to stop).

    Whatever can be wrong with the flags raises UserError before anything is written.
    """
    with shown_on(console, prefix=f"{FRAMEWORK_NAMES[framework]}: "):
        return _run_training(framework, load_framework, options, console, turns)


def _run_training(
    framework: str, load_framework: Callable[[], Framework], options: RunOptions, console: Console, turns: Alone
) -> int:
    times = PhaseTimes()
    check_tracker(options.log_to)
    origin = find_resumed(framework, options)
    build_architecture(options.config)
    with contextlib.ExitStack() as locks:
        if origin is None:
            check_new(options.folder / framework)
        plan = make_plan(framework, options, origin, times, locks)
        for sentence in plan.damaged_checkpoints:
            console.print(f"{sentence}; going on from the one before it", soft_wrap=True)
        machine = prepare_machine(framework, load_framework, options, times)
        if options.dry_run:
            console.print(f"{FRAMEWORK_NAMES[framework]}: {machine.device_name}", soft_wrap=True)
            console.print(plan.would_train(options.config), soft_wrap=True)
            return 0
        folder = plan.folder
        if folder is None:
            folder = RunFolder.create(options.folder / framework)
            locks.callback(folder.unlock)
            if options.output is None:
                console.print(f"Results go to {printable(str(folder.path))}", soft_wrap=True)
        run = Run(framework, options, console, plan, machine, folder, times, turns)
        run.record_start()
        for sentence in plan.found:
            console.print(sentence, soft_wrap=True)
        return _carry_out(run)


def _carry_out(run: "Run") -> int:
    with run.stop:
        try:
            trainer = run.train()
            run.stop.at_once = True  # the last checkpoint is written: nothing is left to save first
            if not run.stop:
                run.turns.take(FINISH, run.stop)
                samples = run.sample(trainer)
                run.draw(samples)
                run.score(trainer, samples)
                run.close("finished", "")
                run.log_elsewhere()
                return 0
            run.close_interrupted()
            return run.stop.exit_code
        except KeyboardInterrupt as stop:
            run.close_interrupted()
            return exit_code(stop)
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


@dataclass(frozen=True)
class Run:
    """A run that nothing stands in the way of: its phases in the order of the methods, and what they share."""

    framework: str
    options: RunOptions
    console: Console
    plan: Plan
    machine: Machine
    folder: RunFolder
    times: PhaseTimes
    turns: Alone
    log: TrainingLog = field(default_factory=TrainingLog)
    stop: StopRequest = field(default_factory=StopRequest)

    @property
    def config(self) -> TrainConfig:
        """The options' configuration."""
        return self.options.config

    @property
    def name(self) -> str:
        """The framework as a person calls it."""
        return FRAMEWORK_NAMES[self.framework]

    @property
    def resume_command(self) -> str:
        """What goes on where this run ended."""
        return own_command(f"{self.framework}_impl", "--resume", self.folder.path.absolute())

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.plan.steps_per_epoch

    def record_start(self) -> None:
        """Write down what is about to happen."""
        self.folder.write_json(CONFIG_FILE, to_dict(self.config))
        step = self.plan.start.step
        # The two belong to the process that trained; one that only scores again leaves both alone.
        if step < self.num_steps or not (self.folder.path / ENVIRONMENT_FILE).exists():
            (self.folder.path / TIMING_FILE).unlink(missing_ok=True)
            self._write_environment()
        self.folder.write_status("running", message="", step=step, epoch=step // self.plan.steps_per_epoch)

    def train(self) -> InspectableTrainer:
        """Build the trainer from the common initial weights and run the loop."""
        start, images = self.plan.start, self.plan.dataset.train_images
        with self.times.measure("build_seconds"):
            trainer = self._build_trainer(start.weights, start.average, images)
        ends = {"num_epochs": self.config.epochs, "num_steps": self.num_steps, "first_step": start.step}
        with self.turns.progress(self.name, **ends, console=self.console) as progress:
            loop = TrainingLoop(trainer, self.config, len(images), start, self.folder, progress, self.stop, self.log)
            loop.turns, loop.is_on_cpu = self.turns, self.machine.is_cpu
            if not self.options.skip_epoch_quality:
                loop.score_epoch = epoch_scorer(self.options, self.plan, before=self._note_peak_memory)
            loop.run()
        self._note_peak_memory()
        return trainer

    def sample(self, trainer: InspectableTrainer) -> Samples:
        """Generate the images that are scored, in eval mode."""
        with self.times.measure("generate_seconds"):
            samples = sample(trainer, self.config)
        self.folder.write_npz(SAMPLES_FILE, **samples._asdict())
        return samples

    def draw(self, samples: Samples) -> None:
        """The pictures of the folder, of finished runs alone: an interrupted one is resumed first."""
        with self.times.measure("drawing_seconds"):
            note = draw(self.folder, self.config, self.log, samples.images, self.plan.dataset.train_images)
        if note:
            self.console.print(f"{self.name}: {note}", soft_wrap=True)

    def score(self, trainer: InspectableTrainer, samples: Samples) -> None:
        """Score the samples: digits by all that knows digits, other images by their pixels, or a network of theirs."""
        # Those of an earlier scoring are not this one's, whatever comes of it.
        (self.folder.path / METRICS_FILE).unlink(missing_ok=True)
        try:
            with self.times.measure("scoring_seconds"):
                evaluation = score(
                    trainer,
                    replace(self.options, threads=max(self.options.num_threads // self.turns.num_finishing, 1)),
                    self.plan.dataset,
                    samples,
                    network=self.plan.network,
                    create_untrained=lambda: self._build_trainer(initial_weights(self.config, self.plan.architecture)),
                )
        except UserError as error:  # of samples that show nothing
            self.console.print(f"{self.name}: not scored: {error}", soft_wrap=True)
            return
        self.folder.write_json(METRICS_FILE, evaluation.to_json())
        distance = evaluation.metrics["frechet_distance"]
        found = f"Fréchet distance {distance['value']:.3g}, of real images {distance['floor'] or 0:.3g}"
        self.console.print(f"{self.name}: {found}; everything is in {printable(str(self.folder.path))}", soft_wrap=True)

    def close_interrupted(self) -> None:
        """Record that the run was told to stop, and say what goes on with it."""
        message = f"stopped at step {self.log.num_steps} of {self.num_steps}; go on with {self.resume_command}"
        self.close("interrupted", message)
        self.console.print(f"{self.name}: {message}", soft_wrap=True)

    def close(self, status: str, message: str) -> None:
        """Write how the time was spent and how the run ended; the status comes last."""
        per_epoch, step = self.plan.steps_per_epoch, self.log.num_steps
        if self.log.chunks:
            self.folder.write_csv(LOSSES_FILE, LOSSES_HEADER, self.log.losses)
            total = {"total_seconds": self.times.since_start() - self.turns.waiting_seconds}
            summary = summarise_timing(self.log, self.config, per_epoch * self.config.batch_size)
            self.folder.write_json(TIMING_FILE, self.times | self.turns.times | total | summary)
        self.folder.write_status(status, message=message, step=step, epoch=step // per_epoch)

    def log_elsewhere(self) -> None:
        """Log what was recorded to the tracker that was asked for, if any; nothing is timed any more."""
        if self.options.log_to is not None:
            shown_by = log_run(self.folder.path, self.framework, self.options.log_to)
            self.console.print(f"{self.name}: logged; show it with {shown_by}", soft_wrap=True)

    def _note_peak_memory(self) -> None:
        """Before anything is scored: the arrays of that would count as the framework's."""
        if "peak_memory_bytes" not in self.times:
            self.times.update(self.machine.framework.peak_memory(self.machine.device))

    def _write_environment(self) -> None:
        self.folder.write_json(
            ENVIRONMENT_FILE,
            {
                "framework": self.framework,
                "framework_name": self.name,
                "device": self.machine.device_name,
                "device_flags": self.machine.device_flags,
                "execution": self.machine.execution,
                "accelerator": describe_accelerator(self.machine.device_name),
                "num_threads": self.options.num_threads,
                "num_parameters": count_parameters(self.plan.architecture),
                "source_hash": source_hash(self.framework),
                **plan_records(self.plan, self.options),
                **describe_environment(),
            },
        )

    def _build_trainer(
        self, weights: Weights, average: Weights | None = None, images: np.ndarray | None = None
    ) -> InspectableTrainer:
        machine = self.machine
        trainer = machine.framework.create_trainer(
            self.config, self.plan.architecture, machine.device, images, machine.execution
        )
        trainer.load_weights(weights, average)
        trainer.wait()
        return trainer
