"""Whatever can be wrong with a run, found before anything is written: its data, where it begins, its framework."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.config import TrainConfig
from common.contract import Framework
from common.data.datasets import Dataset, load_dataset, prepare_dataset
from common.errors import UserError
from common.evaluation import load_feature_network
from common.evaluation.own_network import OwnNetwork, load_own_network
from common.networks.build import build_architecture
from common.networks.layers import Architecture
from common.options import DeviceOptions, RunOptions
from common.records.accelerator import flags_on
from common.records.folder import FRAMEWORK_NAMES, RunFolder
from common.records.origin import (
    Origin,
    check_same_config,
    check_same_data,
    check_same_features,
    find_origin,
    processes_before,
)
from common.training.log import PhaseTimes
from common.training.start import Start, start_of

PACKAGES = {"torch": "torch", "jax": "jax flax optax"}


@dataclass(frozen=True)
class Machine:
    """The framework, imported and configured, and the device it trains on."""

    framework: Framework
    device: Any
    device_flags: dict[str, Any]
    execution: str  # `step` or `chunk`

    @property
    def device_name(self) -> str:
        """The device in the framework's own words."""
        return self.framework.device_name(self.device)

    @property
    def is_cpu(self) -> bool:
        """Both frameworks call it by this name."""
        return self.device_name == "cpu"


@dataclass(frozen=True)
class Plan:
    """What a run trains, on what data, and where it begins."""

    dataset: Dataset
    network: OwnNetwork | None  # of --features
    architecture: Architecture
    origin: Origin | None  # what is resumed
    start: Start
    steps_per_epoch: int  # whole batches in one pass over the training images
    folder: RunFolder | None  # the locked folder of a run that goes on in place; any other gets a new one
    damaged_checkpoints: list[str]  # a sentence on each that was passed over

    def would_train(self, config: TrainConfig) -> str:
        """The last words of a dry run."""
        return what_would_be_trained(self.dataset, config)

    @property
    def found(self) -> list[str]:
        """What was made of the data, and of the network, if they are a person's own."""
        network = [f"Scored by {self.network.words}"] if self.network else []
        return [f"Data: {self.dataset.made}"] * bool(self.dataset.made) + network


def make_plan(
    framework: str, options: RunOptions, origin: Origin | None, times: PhaseTimes, locks: contextlib.ExitStack
) -> Plan:
    """Load the data and find the beginning; a folder that is resumed in place stays locked as long as `locks`."""
    config = options.config
    with times.measure("data_loading_seconds"):
        dataset = load_training_data(options)
        network = load_own_features(options, dataset)
    architecture = build_architecture(config, image_channels=dataset.image_channels)
    folder = None
    if origin and origin.is_run and origin.framework == framework and options.output is None:
        folder = RunFolder.reopen(origin.path, framework)
        locks.callback(folder.unlock)
        origin = find_resumed(framework, options)  # until now another process may have changed it
    steps_per_epoch = len(dataset.train_images) // config.batch_size
    start, damaged = start_of(origin, config, architecture, steps_per_epoch=steps_per_epoch)
    return Plan(dataset, network, architecture, origin, start, steps_per_epoch, folder, damaged)


def find_resumed(framework: str, options: RunOptions) -> Origin | None:
    """What `--resume` names, if it can be resumed with these flags."""
    if options.resume is None:
        return None
    origin = find_origin(options.resume, framework)
    check_same_config(options.config, origin)
    return origin


def load_training_data(options: RunOptions) -> Dataset:
    """The dataset at the network's size, and the evaluator if it will be scored: all that can be wrong with either."""
    config = options.config
    dataset = load_dataset(config.dataset, options.data_dir, train_size=config.train_size, image_size=config.image_size)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    if options.resume is not None:
        check_same_data(dataset, options.resume)
    num_images = len(dataset.train_images)
    if config.batch_size > num_images:
        raise UserError(
            f"batch_size is {config.batch_size}, but there are only {num_images} training images: "
            f"pass a smaller --batch-size or a larger --train-size"
        )
    if is_scored(dataset):
        load_feature_network()  # a damaged network is better found now than after the training
    return dataset


def load_own_features(options: RunOptions, dataset: Dataset) -> OwnNetwork | None:
    """The network that images are scored by, if there is to be one and the data are not digits."""
    if options.features is not None and is_scored(dataset):
        raise UserError("--features is for other data than MNIST, whose digits have their own network: leave it out")
    network = options.features and load_own_network(options.features, dataset, threads=options.num_threads)
    if options.resume is not None:
        check_same_features(network.sha256 if network else None, options.resume)
    return network


def plan_records(plan: Plan, options: RunOptions) -> dict[str, Any]:
    """What environment.json says of images, their features, and of what is gone on with.

    Whatever goes on with the run finds the same images, and a mended source does not hide what trained before it.
    """
    return {
        "resumed_from": str(plan.origin.path) if plan.origin else None,
        "resumed_at_step": plan.start.step,
        "resumed_in_place": plan.folder is not None,
        "past": processes_before(plan.origin, plan.start.step),
        "dataset": _dataset_record(plan.dataset, options),
        "features": plan.network and {"file": str(plan.network.path), "sha256": plan.network.sha256},
    }


def _dataset_record(dataset: Dataset, options: RunOptions) -> dict[str, Any]:
    return {
        "name": options.config.dataset,
        "data_dir": str(options.data_dir.absolute()) if options.data_dir else None,
        "sha256": dataset.sha256,
        "num_train": len(dataset.train_images),
        "num_test": len(dataset.test_images),
        "channels": dataset.image_channels,
        "made": dataset.made,
    }


def is_scored(dataset: Dataset) -> bool:
    """Whether the digit metrics apply, which know only MNIST; other data are scored by their pixels."""
    return dataset.is_mnist


def what_would_be_trained(dataset: Dataset, config: TrainConfig) -> str:
    """The last words of a dry run."""
    num_images = len(dataset.train_images)
    num_steps = config.epochs * (num_images // config.batch_size)
    would_be = f"{num_images:,} training images of {dataset.name}, {num_steps:,} steps"
    return f"{would_be}: checked; nothing was trained or written"


def prepare_machine(
    framework: str, load_framework: Callable[[], Framework], options: DeviceOptions, times: PhaseTimes
) -> Machine:
    """Import the framework, give it its threads, and choose the device."""
    try:
        with times.measure("import_seconds"):
            implementation = load_framework()
    except ImportError as error:
        name = FRAMEWORK_NAMES[framework]
        raise UserError(f"{name} is not installed ({error}): pip install {PACKAGES[framework]}") from None
    device_flags = implementation.configure(num_threads=options.num_threads, deterministic=options.deterministic)
    device = implementation.select_device(options.device)
    execution = implementation.choose_execution(options.wanted_execution, device)
    device_flags = flags_on(implementation.device_name(device), device_flags)
    return Machine(implementation, device, device_flags, execution)
