"""What a ladder climbs with: the options, and both frameworks on the same data."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from common.data.datasets import load_dataset, prepare_dataset
from common.errors import UserError
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.options import DeviceOptions
from comparison.parity.pair import Pair

NUM_STEPS, NUM_QUICK_STEPS = 300, 100
BUG_WIDTH_DIVISOR = 8


@dataclass(frozen=True, kw_only=True)
class ParityOptions(DeviceOptions):
    """Check, rung by rung, that the two implementations are the same GAN; exit code 1 if one rung fails."""

    quick: bool = False
    """Follow the trajectories for 100 steps instead of 300."""
    planted_bugs: bool = False
    """Plant known bugs one at a time, as many at once as --threads says, at an eighth of the width if none is given."""
    width: int = 0
    """Channels of the narrowest layer; 0 is the preset's own width."""
    json: Path | None = None
    """Where to write the certificate, parity.json (or, with --planted-bugs, what was caught)."""


def make_pair(options: ParityOptions, *, num_threads: int) -> Pair:
    """Load the data and both frameworks."""
    warnings.simplefilter("ignore")
    config = options.config
    dataset = prepare_dataset(
        load_dataset(config.dataset, options.data_dir, train_size=config.train_size),
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
    torch_probe, jax_probe = _load_probes(options.device, num_threads)
    num_steps = NUM_QUICK_STEPS if options.quick or options.planted_bugs else NUM_STEPS
    return Pair(torch_probe, jax_probe, config, architecture, dataset.train_images, num_steps)


def _load_probes(device_name: str, num_threads: int):
    try:
        from comparison.parity.probes.jax_probe import JaxProbe
        from comparison.parity.probes.torch_probe import TorchProbe
    except ImportError as error:
        raise UserError(f"parity needs both frameworks ({error}): pip install torch jax flax optax") from None
    for probe in (probes := (TorchProbe(device_name), JaxProbe(device_name))):
        probe.configure(num_threads=num_threads)
    return probes
