"""What a ladder climbs with: both frameworks, on the same data."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

from common.config import TrainConfig
from common.contract import Weights, WeightsError, check_weights
from common.data.datasets import load_dataset, prepare_dataset
from common.errors import UserError
from common.networks.build import build_architecture
from common.networks.layers import Architecture
from common.networks.presets import PRESETS
from common.records.checkpoint import find_checkpoint, load_checkpoint
from comparison.parity import envelope
from comparison.parity.arms import Arm
from comparison.parity.options import ParityOptions
from comparison.parity.pair import Pair
from comparison.parity.probes.probe import Probe
from comparison.parity.rungs.states import in_precision

NUM_STEPS, NUM_QUICK_STEPS = 300, 100
BUG_WIDTH_DIVISOR = 8


def make_pair(options: ParityOptions, *, num_threads: int, arm: Arm | None = None) -> Pair:
    """Load the data and both frameworks; of an arm that has a float32 twin, that and the arm in their place."""
    warnings.simplefilter("ignore")
    config = arm.config(options.config) if arm else options.config
    dataset = prepare_dataset(
        load_dataset(config.dataset, options.data_dir, train_size=config.train_size, image_size=config.image_size),
        image_size=config.image_size,
        train_size=config.train_size,
    )
    if len(dataset.train_images) < config.batch_size:
        raise UserError(f"batch_size is {config.batch_size}, but there are only {len(dataset.train_images)} images")
    if options.width < 0:
        raise UserError(f"--width is {options.width}: it must be 0 (the preset's own) or more")
    width = options.width or None
    if options.planted_bugs and width is None:
        width = max(1, PRESETS[config.preset].width // BUG_WIDTH_DIVISOR)
    architecture = build_architecture(config, image_channels=dataset.image_channels, width=width)
    reference, judged = _load_probes(options, num_threads)
    if arm and arm.has_twin:
        kind = type(reference if arm.framework == "torch" else judged)
        reference, judged = envelope.twins(arm, kind, options.device, options.execution)
    num_steps = NUM_QUICK_STEPS if options.quick or options.planted_bugs else NUM_STEPS
    checkpoint = _load(options.checkpoint, config, architecture) if options.checkpoint else None
    return Pair(reference, judged, config, architecture, dataset.train_images, num_steps, checkpoint)


def _load(path: Path, config: TrainConfig, architecture: Architecture) -> Weights:
    weights = in_precision(load_checkpoint(find_checkpoint(path)).weights, "float64")
    try:
        check_weights(weights, architecture, replace(config, precision="float64"))
    except WeightsError as error:
        raise UserError(f"--checkpoint {path}: {error}") from None
    return weights


def _load_probes(options: ParityOptions, num_threads: int) -> tuple[Probe, Probe]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # both frameworks share one GPU here
    try:
        from comparison.parity.probes.jax_probe import JaxProbe
        from comparison.parity.probes.torch_probe import TorchProbe
    except ImportError as error:
        raise UserError(f"parity needs both frameworks ({error}): pip install torch jax flax optax") from None
    probes: tuple[Probe, Probe] = (
        TorchProbe(options.device, options.execution),
        JaxProbe(options.device, options.execution),
    )
    for probe in probes:
        probe.configure(num_threads=num_threads, deterministic=options.deterministic)
    return probes
