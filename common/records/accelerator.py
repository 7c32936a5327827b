"""What the driver of an NVIDIA GPU says of it, and how a run's record tells a GPU from a CPU."""

import os
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
UNKNOWN = "[N/A]"  # as nvidia-smi has it


def describe_accelerator(device_name: str) -> dict[str, str]:
    """Facts of the GPU, named as in `nvidia-smi --help-query-gpu`; none of `cpu`, or where no driver answers."""
    values = [] if device_name == "cpu" else query(FACTS)
    return dict(zip(FACTS, values, strict=True)) if values else {}


def first_gpu() -> str:
    """The one that both frameworks take, as `nvidia-smi --id` knows it: its index, or its UUID."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return named if named.isdecimal() or named.startswith("GPU-") else "0"


def query(names: Sequence[str]) -> list[str]:
    """What `nvidia-smi` answers of that GPU, `[N/A]` where it does not know; nothing where no driver answers."""
    if found := _asked(names):
        return found
    if not _asked(["name"]):
        return []
    # A driver that is too old or too new for one of the names answers none of them.
    return [(_asked([name]) or [UNKNOWN])[0] for name in names]


def _asked(names: Sequence[str]) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits", f"--id={first_gpu()}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    values = [value.strip() for value in asked.stdout.strip().split(",")]
    return values if asked.returncode == 0 and len(values) == len(names) else []


def flags_on(device_name: str, device_flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that `configure` has set as far as they hold on this device."""
    return {name: value for name, value in device_flags.items() if device_name == "cpu" or not name.startswith("cpu_")}
