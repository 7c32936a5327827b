"""Which device JAX runs on, and the flags set before anything else does. Mirrors torch_impl/device.py."""

import os
from importlib.metadata import version
from typing import Any

import jax

from common.environment import process_peak_memory_bytes
from common.errors import UserError

Device = Any  # jax.Device, which a type checker takes for a variable

# XLA's own CPU convolutions beat the YNNPACK ones on most DCGAN shapes (docs/decisions/0003-convolutions-in-jax.md).
# An unknown flag aborts the process, so it is set only for the jaxlib versions it was seen to exist in.
CPU_XLA_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
CPU_XLA_FLAG_JAXLIB = "0.10."


def configure(*, num_threads: int) -> dict[str, Any]:
    """Set the process-wide flags; call before any other JAX work. Returns them for the run's record."""
    os.environ.setdefault("PJRT_NPROC", str(num_threads))  # XLA's CPU thread pool ignores OMP_NUM_THREADS
    flags = os.environ.get("XLA_FLAGS", "")
    if version("jaxlib").startswith(CPU_XLA_FLAG_JAXLIB) and "ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_XLA_FLAG}".strip()
    # float32 means IEEE float32 on GPUs too: no TF32.
    jax.config.update("jax_default_matmul_precision", "highest")
    return {"xla_flags": os.environ.get("XLA_FLAGS", ""), "float32_matmul": "highest"}


def select_device(name: str) -> Device:
    """`auto` takes the accelerator (CUDA, ROCm, TPU) if there is one; `gpu` without one raises UserError."""
    if name == "cpu":
        jax.config.update("jax_platforms", "cpu")  # or JAX would start the accelerator, and trace for it
    try:
        accelerators = [device for device in jax.devices() if device.platform != "cpu"]
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"JAX cannot start its devices ({error}): pass --device cpu, or unset JAX_PLATFORMS") from None
    if name == "cpu" or (name == "auto" and not accelerators):
        return jax.devices("cpu")[0]
    if not accelerators:
        raise UserError(
            "--device gpu: JAX finds no accelerator here; pass --device cpu, or install a JAX build for yours"
        )
    return accelerators[0]


def device_name(device: Device) -> str:
    """What the report calls the device: `cpu`, or the name the driver gives."""
    return device.platform if device.platform == "cpu" else device.device_kind


def peak_memory_bytes(device: Device) -> int:
    """Most memory held at once so far: of the process on a CPU, of XLA's allocator on a GPU."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    return process_peak_memory_bytes()
