"""The flags of `compare.py bench`, and what can be known to be wrong with them before it measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common.data.datasets import load_dataset, prepare_dataset
from common.errors import UserError
from common.networks.build import build_architecture
from common.networks.layers import Architecture
from common.options import DeviceOptions, check_result_file
from common.records.folder import FRAMEWORK_NAMES, check_writable
from common.training.log import CHUNK_STEPS
from comparison.parity.arms import FORMS, Arm, parse_arm

DEFAULT_ARMS = "torch,jax,torch-idiomatic,jax-idiomatic,torch-compile"
MIN_REPETITIONS = 5
MAX_NEIGHBOURS = 64


def parse_arms(names: str, *, precision: str) -> list[Arm]:
    """`torch,jax-idiomatic,torch-bfloat16`: forms, each in the benchmark's precision unless it says bfloat16."""
    named = filter(None, (part.strip() for part in names.split(",")))
    try:
        arms = [parse_arm(name, precision=precision) for name in named]
    except UserError as error:
        raise UserError(f"--arms: {error}") from None
    if len({arm.name for arm in arms}) < len(arms):
        raise UserError(f"--arms: {names} names an arm twice; a control of the first is measured anyway")
    if not arms:
        raise UserError(f"--arms is empty: choose of {', '.join(FORMS)}")
    return arms


@dataclass(frozen=True, kw_only=True)
class BenchOptions(DeviceOptions):
    """Time a training step in both frameworks, in fresh processes that take turns. No ratio is given unless a control
    holds and parity is certified.
    """

    arms: str = DEFAULT_ARMS
    """Forms to time, comma-separated. NAME-bfloat16 is that form in bfloat16, whatever --precision is."""
    batch_sizes: str = ""
    """More batch sizes for the tuned forms, as 32,64."""
    quality_epochs: int = 0
    """Train the tuned forms for N epochs too, at every batch size. It shows what quality costs in time."""
    neighbours: int = 0
    """Time the tuned forms beside N busy programs too. Fewer are tried as well: what a busy machine costs them."""
    repetitions: int = 6
    """Fresh processes of each arm."""
    steps_per_block: int = CHUNK_STEPS
    """Steps between two readings of the clock. Training has 16. What a block costs besides its steps counts."""
    num_blocks: int = 3
    """Blocks that a process counts. One that compiles and two to warm up come before."""
    certify: bool = True
    """Skip the parity check, and give no ratio. The check takes minutes, once a configuration."""
    json: Path | None = None
    """Where to write the result as JSON."""
    output: Path | None = None
    """Folder for bench.json, speed.md and figures. In a comparison's folder, `compare.py report` shows them too."""

    @property
    def duration_flags(self) -> list[str]:
        """How long each process measures, as flags."""
        return [f"--steps-per-block={self.steps_per_block}", f"--num-blocks={self.num_blocks}"]


def parse_batch_sizes(text: str) -> list[int]:
    """Whole numbers above 0, or UserError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--batch-sizes {text}: pass whole numbers above 0, like 32,64,128,256")
    sizes = [int(part) for part in parts]
    if len({*sizes}) < len(sizes):
        raise UserError(f"--batch-sizes {text}: name each size once")
    return sizes


class Subject(NamedTuple):
    """The networks that are timed, and how many images their epoch has."""

    architecture: Architecture
    num_images: int  # of an epoch, before the last partial batch is dropped
    data_sha256: str  # of the training images, as they are trained on


def check(options: BenchOptions, arms: Sequence[Arm], batch_sizes: Sequence[int]) -> Subject:
    """Raise UserError for whatever can be known to be wrong before an hour of measuring."""
    config = options.config
    check_result_file(options.json)
    if options.repetitions < MIN_REPETITIONS:
        raise UserError(f"--repetitions is {options.repetitions}: pass at least {MIN_REPETITIONS}")
    if not 0 <= options.neighbours <= MAX_NEIGHBOURS:
        raise UserError(f"--neighbours is {options.neighbours}: pass 0 to {MAX_NEIGHBOURS} busy programs")
    if min(options.steps_per_block, options.num_blocks) < 1 or options.quality_epochs < 0:
        raise UserError("--steps-per-block and --num-blocks must be at least 1, --quality-epochs at least 0")
    beside = batch_sizes or options.quality_epochs or options.neighbours
    if beside and not any(arm.name in FRAMEWORK_NAMES for arm in arms):
        raise UserError(
            "--batch-sizes, --quality-epochs and --neighbours are of the arms torch and jax: name one in --arms"
        )
    dataset = load_dataset(config.dataset, options.data_dir, train_size=config.train_size, image_size=config.image_size)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    if options.quality_epochs and not dataset.is_mnist:
        raise UserError(f"--quality-epochs: the metrics know only the digits of MNIST, not {config.dataset}")
    for batch_size in (config.batch_size, *batch_sizes):
        needed, there = batch_size * options.steps_per_block, len(dataset.train_images)
        if needed > there:
            raise UserError(
                f"a block of {options.steps_per_block} batches of {batch_size} needs {needed} images, "
                f"there are {there}: "
                "pass smaller --batch-sizes, fewer --steps-per-block, or a larger --train-size"
            )
        if options.quality_epochs and there // batch_size <= 2 * CHUNK_STEPS:
            raise UserError(
                f"--quality-epochs: an epoch of {there // batch_size} batches of {batch_size} is too short to tell "
                f"compilation from training: pass smaller --batch-sizes or a larger --train-size"
            )
    if options.output is not None:
        check_writable(options.output)
    architecture = build_architecture(config, image_channels=dataset.image_channels)
    return Subject(architecture, len(dataset.train_images), dataset.sha256)
