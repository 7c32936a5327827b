"""One framework's run, from flags to a finished run folder: the same for both, timed phase by phase."""

import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from rich.console import Console

from common.architectures import Architecture, build_architecture, weight_shapes
from common.config import TrainConfig, to_dict
from common.contract import Trainer
from common.data import Dataset, load_dataset, prepare_dataset
from common.environment import describe_environment
from common.errors import RunFailedError, UserError
from common.evaluation import evaluate_samples
from common.images import to_uint8
from common.initial_weights import initial_weights
from common.loop import CHUNK_STEPS, TrainingLog, train
from common.options import RunOptions
from common.progress import ConsoleProgress
from common.randomness import evaluation_latents
from common.records import RunFolder
from common.stop_request import StopRequest

FRAMEWORK_NAMES = {"torch": "PyTorch", "jax": "JAX / Flax NNX"}
NUM_SCORED_IMAGES = 10_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Implementation:
    """What a run asks of `torch_impl` or `jax_impl`; a device is the framework's own object."""

    configure: Callable[..., dict[str, Any]]
    select_device: Callable[[str], Any]
    device_name: Callable[[Any], str]
    peak_memory_bytes: Callable[[Any], int]
    create_trainer: Callable[[TrainConfig, Architecture, Any], Trainer]


def run_training(
    framework: str, load_implementation: Callable[[], Implementation], options: RunOptions, console: Console
) -> int:
    """Train, sample, score and record; returns the exit code (0, or 130 / 143 when told to stop).

    Nothing is written before everything that can be checked beforehand has been.
    """
    timing: dict[str, Any] = {}
    started = time.perf_counter()
    config = options.config
    build_architecture(config)  # refuses a wrong --preset or --image-size before any data is read
    dataset = _timed(timing, "data_loading_seconds", lambda: _load_data(config, options))
    architecture = build_architecture(config, image_channels=dataset.image_channels)
    implementation = _timed(timing, "import_seconds", lambda: _import(framework, load_implementation))
    device_flags = implementation.configure(num_threads=options.num_threads)
    device = implementation.select_device(options.device)
    if options.dry_run:
        return 0

    run = RunFolder.create(options.folder / framework)
    run.write_json("config.json", to_dict(config))
    run.write_json(
        "environment.json",
        {
            "framework": framework,
            "framework_name": FRAMEWORK_NAMES[framework],
            "device": implementation.device_name(device),
            "device_flags": device_flags,
            "num_threads": options.num_threads,
            "num_parameters": count_parameters(architecture),
            **describe_environment(),
        },
    )
    run.write_status("running", message="", step=0, epoch=0)
    steps_per_epoch = len(dataset.train_images) // config.batch_size
    images_per_epoch, num_steps = steps_per_epoch * config.batch_size, config.epochs * steps_per_epoch
    log = TrainingLog()
    stop = StopRequest()
    try:
        with stop:
            trainer = _timed(timing, "build_seconds", lambda: _build(implementation, config, architecture, device))
            title = FRAMEWORK_NAMES[framework]
            with ConsoleProgress(title, num_epochs=config.epochs, num_steps=num_steps, console=console) as progress:
                train(trainer, config, dataset.train_images, run, progress, stop, log)
            timing["peak_memory_bytes"] = implementation.peak_memory_bytes(device)
            if not stop:
                _sample_and_score(trainer, config, dataset, run, timing, console, options.num_threads)
    except KeyboardInterrupt:
        run.write_status("interrupted", message="stopped at once", step=log.num_steps, epoch=len(log.epochs))
        raise
    except Exception as error:
        (run.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        if log.chunks:
            run.write_json("timing.json", timing | summarise_timing(log, config, images_per_epoch))
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        run.write_status("failed", message=message, step=log.num_steps, epoch=len(log.epochs))
        raise RunFailedError(f"{FRAMEWORK_NAMES[framework]}: {message} (details in {run.path}/error.txt)") from None
    timing["total_seconds"] = time.perf_counter() - started
    run.write_json("timing.json", timing | summarise_timing(log, config, images_per_epoch))
    if stop:
        message = f"stopped at step {log.num_steps} of {num_steps}; everything up to there is in {run.path}"
        run.write_status("interrupted", message=message, step=log.num_steps, epoch=len(log.epochs))
        console.print(f"{FRAMEWORK_NAMES[framework]}: {message}", highlight=False, soft_wrap=True)
        return stop.exit_code
    run.write_status("finished", message="", step=log.num_steps, epoch=config.epochs)
    return 0


def summarise_timing(log: TrainingLog, config: TrainConfig, images_per_epoch: int) -> dict[str, Any]:
    """What timing.json says of the loop; steady state is every full chunk after the first, which compiles."""
    steady = [chunk for chunk in log.chunks[1:] if chunk.num_steps == CHUNK_STEPS] or log.chunks[1:]
    speeds = sorted(chunk.num_steps * config.batch_size / chunk.seconds for chunk in steady)
    summary: dict[str, Any] = {
        "first_chunk_seconds": log.chunks[0].seconds,
        "chunk_size": CHUNK_STEPS,
        "chunks": [asdict(chunk) for chunk in log.chunks],
        "training_seconds": log.training_seconds,
        "data_seconds": log.data_seconds,
        "evaluation_seconds": log.evaluation_seconds,
        "loop_overhead_fraction": log.loop_overhead_fraction,
        "steady_images_per_second": None,
        "seconds_per_epoch": None,
    }
    if speeds:  # a run of a single chunk has no steady state
        median = statistics.median(speeds)
        summary["steady_images_per_second"] = {"median": median, "low": speeds[0], "high": speeds[-1]}
        summary["seconds_per_epoch"] = images_per_epoch / median
    return summary


def count_parameters(architecture: Architecture) -> dict[str, int]:
    """Trainable numbers of each network."""
    counts = {"generator": 0, "discriminator": 0}
    for name, shape in weight_shapes(architecture).items():
        size = 1
        for length in shape:
            size *= length
        counts[name.split(".")[0]] += size
    return counts


def _load_data(config: TrainConfig, options: RunOptions) -> Dataset:
    dataset = load_dataset(config.dataset, options.data_dir)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    if config.batch_size > len(dataset.train_images):
        raise UserError(
            f"batch_size is {config.batch_size}, but there are only {len(dataset.train_images)} training images: "
            f"pass a smaller --batch-size or a larger --train-size"
        )
    return dataset


def _import(framework: str, load_implementation: Callable[[], Implementation]) -> Implementation:
    try:
        return load_implementation()
    except ImportError as error:
        packages = {"torch": "torch", "jax": "jax flax optax"}[framework]
        raise UserError(f"{FRAMEWORK_NAMES[framework]} is not installed ({error}): pip install {packages}") from None


def _build(implementation: Implementation, config: TrainConfig, architecture: Architecture, device: Any) -> Trainer:
    trainer = implementation.create_trainer(config, architecture, device)
    trainer.load_weights(initial_weights(config, architecture))
    trainer.wait()
    return trainer


def _sample_and_score(
    trainer: Trainer,
    config: TrainConfig,
    dataset: Dataset,
    run: RunFolder,
    timing: dict[str, Any],
    console: Console,
    num_threads: int,
) -> None:
    latents = evaluation_latents(config.seed, num=NUM_SCORED_IMAGES, latent_dim=config.latent_dim)
    images = _timed(timing, "generate_seconds", lambda: to_uint8(trainer.generate(latents)))
    run.write_npz("samples.npz", images=images, latents=latents)
    if dataset.name != "mnist" or dataset.image_channels != 1:
        console.print(f"{dataset.name} is not scored: the metrics know only the digits of MNIST", highlight=False)
        return
    evaluation = _timed(timing, "scoring_seconds", lambda: evaluate_samples(images, threads=num_threads))
    run.write_json("metrics.json", evaluation.to_json())


def _timed(timing: dict[str, Any], name: str, work: Callable[[], Result]) -> Result:
    started = time.perf_counter()
    result = work()
    timing[name] = time.perf_counter() - started
    return result
