"""`device`: what `compare.py` asks of both frameworks before it trains either."""

from dataclasses import dataclass

from common.commands.dispatch import Twin
from common.options import DeviceOptions


@dataclass(frozen=True, kw_only=True)
class CheckOptions(DeviceOptions):
    """Say where this framework would train with these flags; no data is read and nothing is written."""


def main(options: CheckOptions, twin: Twin) -> int:
    """Print the device in the framework's own words; returns the exit code 0."""
    from common.networks.build import build_architecture
    from common.training.log import PhaseTimes
    from common.training.prepare import prepare_machine

    build_architecture(options.config)
    print(prepare_machine(twin.name, twin.load_framework, options, PhaseTimes()).device_name)
    return 0
