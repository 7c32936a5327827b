"""Which device JAX runs on, and the flags set before anything else does. Mirrors torch_impl/device.py."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from common.errors import UserError
from common.records.environment import process_peak_memory_bytes
from jax_impl.tuned.steps import compiler_options

Device = Any  # jax.Device, which a type checker takes for a variable
_COMPILE_EVENTS = "/jax/core/compile/"  # tracing, lowering, and compiling or reading from the persistent cache
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def configure(*, num_threads: int) -> dict[str, Any]:
    """Set the process-wide flags; call before any other JAX work. Returns them for the run's record."""
    os.environ.setdefault("PJRT_NPROC", str(num_threads))  # XLA's CPU thread pool ignores OMP_NUM_THREADS
    # float32 means IEEE float32 on GPUs too: no TF32.
    jax.config.update("jax_default_matmul_precision", "highest")
    options = [f"{name}={value}" for name, value in compiler_options("cpu", "float32").items()]
    return {"float32_matmul": "highest", "tuned_cpu_compiler_options": " ".join(options)}


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


def choose_execution(name: str, device: Device) -> str:
    """`auto` is `chunk`, one program with a loop, on accelerators, and `step` on a CPU."""
    return name if name != "auto" else "step" if device.platform == "cpu" else "chunk"


def device_name(device: Device) -> str:
    """What the report calls the device: `cpu`, or the name the driver gives."""
    return device.platform if device.platform == "cpu" else device.device_kind


def peak_memory_bytes(device: Device) -> int:
    """Most memory held at once so far: of the process on a CPU, of XLA's allocator on a GPU."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    return process_peak_memory_bytes()


def watch_compilation() -> Callable[[], float]:
    """Watch from now on; the call that comes back ends it and gives the seconds in which something was compiled."""
    spans: list[tuple[float, float]] = []

    def note(event: str, start_time: float, end_time: float, **_: str | int) -> None:
        if event.startswith(_COMPILE_EVENTS):
            spans.append((start_time, end_time))

    jax.monitoring.register_event_time_span_listener(note)

    def stop() -> float:
        jax.monitoring.unregister_event_time_span_listener(note)
        # A span may lie within another, as what is compiled while something is traced: no time counts twice.
        seconds, covered_until = 0.0, 0.0
        for start, end in sorted(spans):
            seconds += max(end - max(start, covered_until), 0.0)
            covered_until = max(covered_until, end)
        return seconds

    return stop


def matrix_multiplication(device: Device, size: int, precision: str) -> Callable[[], None]:
    """A call that multiplies two square matrices, summing in float32, and returns once that is done."""
    matrices = jax.random.normal(jax.random.key(0), (2, size, size)).astype(PRECISIONS[precision])
    left, right = jax.device_put(matrices[0], device), jax.device_put(matrices[1], device)
    product = jax.jit(lambda left, right: jnp.matmul(left, right, preferred_element_type=jnp.float32))

    def multiply() -> None:
        product(left, right).block_until_ready()

    return multiply
