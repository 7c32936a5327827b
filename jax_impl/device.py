"""Which device JAX runs on, and the flags set before anything else does. Mirrors torch_impl/device.py."""

import os
from importlib.metadata import version
from typing import Any

import jax

from common.environment import process_peak_memory_bytes
from common.errors import UserError

Device = Any  # jax.Device, which a type checker takes for a variable

# XLA's own CPU convolutions beat the YNNPACK ones on most DCGAN shapes (docs/decisions/0003-convolutions-in-jax.md; for
# what it is worth where Winograd's form leaves few, 0013): these are its defaults without INDIVIDUAL_CONVOLUTION. An
# unknown option is an error, so only these jaxlibs get it.
CPU_COMPILER_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}
CPU_COMPILER_OPTIONS_JAXLIB = "0.10."


def configure(*, num_threads: int) -> dict[str, Any]:
    """Set the process-wide flags; call before any other JAX work. Returns them for the run's record."""
    os.environ.setdefault("PJRT_NPROC", str(num_threads))  # XLA's CPU thread pool ignores OMP_NUM_THREADS
    # float32 means IEEE float32 on GPUs too: no TF32.
    jax.config.update("jax_default_matmul_precision", "highest")
    options = [f"{name}={value}" for name, value in CPU_COMPILER_OPTIONS.items()] if _options_known() else []
    return {"float32_matmul": "highest", "tuned_cpu_compiler_options": " ".join(options)}


def compiler_options(device: Device, precision: str) -> dict[str, str]:
    """XLA's options for the tuned step on a CPU. Not in float64, where XLA's own convolutions are 9 times slower."""
    suits = device.platform == "cpu" and precision != "float64"
    return CPU_COMPILER_OPTIONS if suits and _options_known() else {}


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


def _options_known() -> bool:
    return version("jaxlib").startswith(CPU_COMPILER_OPTIONS_JAXLIB)
