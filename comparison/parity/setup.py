"""What a ladder climbs with: both frameworks, on the same data."""

import warnings

from common.data.datasets import load_dataset, prepare_dataset
from common.errors import UserError
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from comparison.parity.options import ParityOptions
from comparison.parity.pair import Pair

NUM_STEPS, NUM_QUICK_STEPS = 300, 100
BUG_WIDTH_DIVISOR = 8


def make_pair(options: ParityOptions, *, num_threads: int) -> Pair:
    """Load the data and both frameworks."""
    warnings.simplefilter("ignore")
    config = options.config
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
