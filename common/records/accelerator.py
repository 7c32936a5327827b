"""What the driver of an NVIDIA GPU says of it, and how a run's record tells a GPU from a CPU."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

# Another value of one of these may mean another number or another speed.
FACTS = (
    "name",
    "driver_version",
    "compute_cap",
    "vbios_version",
    "memory.total",
    "power.limit",
    "clocks.max.sm",
    "clocks.max.memory",
    "clocks.applications.graphics",
    "mig.mode.current",
    "ecc.mode.current",
)
TIMEOUT_SECONDS = 20


def describe_accelerator(device_name: str) -> dict[str, str]:
    """Facts of the first GPU, named as in `nvidia-smi --help-query-gpu`; none of `cpu`, or where no driver answers."""
    lines = [] if device_name == "cpu" else query(FACTS)
    return dict(zip(FACTS, lines[0], strict=True)) if lines else {}


def query(names: Sequence[str]) -> list[list[str]]:
    """What `nvidia-smi` answers, a list for each GPU; none where there is no such program, or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [[value.strip() for value in line.split(",")] for line in asked.stdout.splitlines() if line.strip()]
    return [line for line in lines if asked.returncode == 0 and len(line) == len(names)]


def flags_on(device_name: str, device_flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that `configure` has set as far as they hold on this device."""
    return {name: value for name, value in device_flags.items() if device_name == "cpu" or not name.startswith("cpu_")}
