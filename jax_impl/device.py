"""Which device JAX runs on, and the flags set before anything else does. Mirrors torch_impl/device.py."""

import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from common.errors import UserError
from common.records.environment import process_peak_memory_bytes
from jax_impl.tuned.steps import compiler_options

Device = Any  # jax.Device, which a type checker takes for a variable
# Leaves out algorithms that sum in any order, and the timing of the others, whose outcome may differ (xla#12520).
_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
_COMPILE_EVENTS = "/jax/core/compile/"  # tracing, lowering, and compiling or reading from the persistent cache
PRECISIONS = {"float32": jnp.float32, "tf32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


def configure(*, num_threads: int, deterministic: bool = False, tf32: bool = False) -> dict[str, Any]:
    """Set the process-wide flags; call before any other JAX work. Returns them for the run's record.

    Those named `cpu_...` a GPU does not know. `deterministic`: on a GPU, every run leaves the same bits.
    """
    os.environ.setdefault("PJRT_NPROC", str(num_threads))  # XLA's CPU thread pool ignores OMP_NUM_THREADS
    # float32 means IEEE float32 on GPUs too, unless the benchmark asks for TF32.
    float32_matmul = "tensorfloat32" if tf32 else "highest"
    jax.config.update("jax_default_matmul_precision", float32_matmul)
    if deterministic and _DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):  # read when JAX starts
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DETERMINISTIC}".strip()
    options = [f"{name}={value}" for name, value in compiler_options("cpu", "float32").items()]
    return {
        "cpu_tuned_compiler_options": " ".join(options),
        "float32_matmul": float32_matmul,
        "deterministic": deterministic,
    }


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


def has_float64(device: Device) -> bool:
    """Whether it computes in double precision at all: Apple's GPUs do not."""
    return device.platform.lower() != "metal"


def peak_memory(device: Device) -> dict[str, Any]:
    """Most memory held at once so far, and what the number is of: on a GPU, arrays in XLA's allocator."""
    if device.platform == "cpu":
        return {"peak_memory_bytes": process_peak_memory_bytes(), "peak_memory_kind": "process"}
    held = device.memory_stats() or {}
    return {
        "peak_memory_bytes": held.get("peak_bytes_in_use", 0),
        "peak_memory_kind": "allocator",
        "peak_memory_reserved_bytes": held.get("peak_pool_bytes", held.get("bytes_limit", 0)),
        "peak_memory_process_bytes": process_peak_memory_bytes(),
    }


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


def matrix_multiplication(device: Device, size: int, precision: str) -> Callable[..., None]:
    """A call that multiplies two square matrices some times, into such a matrix, and returns once that is done."""
    with jax.enable_x64(precision == "float64"), jax.default_device(device):
        left, right = jax.random.normal(jax.random.key(0), (2, size, size)).astype(PRECISIONS[precision])
        product = jax.jit(partial(jnp.matmul, precision="tensorfloat32" if precision == "tf32" else "highest"))

    def multiply(times: int = 1) -> None:
        with jax.enable_x64(precision == "float64"):
            products = [product(left, right) for _ in range(times)]
        jax.block_until_ready(products[-1])

    return multiply


def profile(run: Callable[[], None], num_steps: int) -> dict[str, float]:
    """What of so many steps the profiler sees: operations of the device, and the host's calls that started them."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        paths = Path(folder).rglob("*.xplane.pb")
        planes = [plane for path in paths for plane in jax.profiler.ProfileData.from_file(str(path)).planes]
        events = [(plane.name, event.name) for plane in planes for line in plane.lines for event in line.events]
    on_device = [name for plane, name in events if plane.startswith("/device:")]
    launches = [name for _, name in events if re.match(r"cu(da)?(Graph)?Launch", name)]
    return {
        "operations_per_step": len(on_device or events) / num_steps,
        "launches_per_step": len(launches) / num_steps,
        "graph_launches_per_step": sum("Graph" in name for name in launches) / num_steps,
    }
