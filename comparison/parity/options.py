"""The flags of `compare.py parity`. No hash covers this file: its words decide no number."""

from dataclasses import dataclass
from pathlib import Path

from common.options import DeviceOptions


@dataclass(frozen=True, kw_only=True)
class ParityOptions(DeviceOptions):
    """Check, rung by rung, that both are the same GAN. Exit code 1 if one rung fails."""

    quick: bool = False
    """Follow training for 100 steps instead of 300."""
    planted_bugs: bool = False
    """Plant known bugs, and say which are caught. As many run at once as --threads says, at an eighth of the width if
    none is given."""
    width: int = 0
    """Channels of the narrowest layer (0: the preset's)."""
    arm: str = ""
    """Certify a form that bench times. jax-idiomatic climbs in float64 alone; torch-compile and torch-bfloat16 are held
    against their framework's float32 program."""
    checkpoint: Path | None = None
    """A run or a checkpoint for the last rung to start at. Either framework's will do."""
    json: Path | None = None
    """Where to write the result as JSON. It is the certificate, or with --planted-bugs what was caught."""
