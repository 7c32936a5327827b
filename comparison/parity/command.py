"""`python compare.py parity`: climb the ladder, print every measurement, write the certificate.

Both frameworks run in this one process: nothing here is timed, each is given its own arrays, and the
one switch they could inherit from a neighbour, JAX's x64, is set before every use.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from common.architectures import build_architecture
from common.config import TrainConfig
from common.data import load_dataset, prepare_dataset
from common.environment import default_num_threads
from common.errors import UserError
from common.options import ConfigOptions, parse
from common.records import write_atomically
from comparison.parity.certificate import certificate
from comparison.parity.ladder import climb
from comparison.parity.pair import Measurement, Pair

PROGRAM = "python compare.py parity"
DESCRIPTION = "Check, rung by rung, that the two implementations are the same GAN; exit code 1 if one rung fails."
NUM_STEPS, NUM_QUICK_STEPS = 300, 100


@dataclass(frozen=True, kw_only=True)
class ParityOptions(ConfigOptions):
    """What to certify, how far to climb, and where the certificate goes."""

    quick: bool = False
    """Follow the trajectories for 100 steps instead of 300."""
    width: int = 0
    """Channels of the narrowest layer; 0 is the preset's own width."""
    data_dir: Path | None = None
    """Folder of prepared TFDS datasets, holding NAME/VERSION/."""
    json: Path | None = None
    """Where to write the certificate, parity.json."""


def parity(arguments: Sequence[str]) -> int:
    """0 if every rung holds, 1 if one does not."""
    options = parse(ParityOptions, arguments, program=PROGRAM, description=DESCRIPTION)
    pair = make_pair(options)
    console = Console()
    measurements = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for measurement in climb(pair):
            measurements.append(measurement)
            console.print(
                line(measurement), highlight=False, soft_wrap=True, style=None if measurement.holds else "red"
            )
    found = certificate(pair, measurements, quick=options.quick, num_threads=default_num_threads())
    if options.json is not None:
        write_atomically(options.json, (json.dumps(found, indent=2) + "\n").encode())
    failed = sum(not measurement.holds for measurement in measurements)
    verdict = "every rung holds" if not failed else f"{failed} of {len(measurements)} measurements do not hold"
    console.print(f"{options.config.preset}, {options.config.variant}: {verdict}", highlight=False)
    return 0 if found["holds"] else 1


def make_pair(options: ParityOptions) -> Pair:
    """Load the data and both frameworks, on the CPU."""
    config = options.config
    dataset = prepare_dataset(
        load_dataset(config.dataset, options.data_dir, train_size=config.train_size),
        image_size=config.image_size,
        train_size=config.train_size,
    )
    if len(dataset.train_images) < config.batch_size:
        raise UserError(f"batch_size is {config.batch_size}, but there are only {len(dataset.train_images)} images")
    architecture = build_architecture(config, image_channels=dataset.image_channels, width=options.width or None)
    torch_probe, jax_probe = _load_probes(config)
    num_steps = NUM_QUICK_STEPS if options.quick else NUM_STEPS
    return Pair(torch_probe, jax_probe, config, architecture, dataset.train_images, num_steps)


def line(measurement: Measurement) -> str:
    """One measurement as it is printed: value, tolerance, head-room, and where it went wrong if it did."""
    headroom = "exact" if measurement.measured == 0 else f"{measurement.headroom:.1g}x"
    mark = "holds" if measurement.holds else f"FAILS at {measurement.where}" if measurement.where else "FAILS"
    return (
        f"rung {measurement.rung:2d}  {measurement.precision:8s} {measurement.name:52s} "
        f"{measurement.measured:8.1e} of {measurement.tolerance:.0e}  {headroom:>7s}  {mark}"
    )


def _load_probes(config: TrainConfig):
    try:
        from comparison.parity.jax_probe import JaxProbe
        from comparison.parity.torch_probe import TorchProbe
    except ImportError as error:
        raise UserError(f"parity needs both frameworks ({error}): pip install torch jax flax optax") from None
    for probe in (probes := (TorchProbe(), JaxProbe())):
        probe.configure(num_threads=default_num_threads())
    return probes
