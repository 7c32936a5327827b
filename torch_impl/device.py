"""Which device PyTorch runs on, and the flags set before anything else does. Mirrors jax_impl/device.py."""

import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from common.errors import UserError
from common.records.environment import process_peak_memory_bytes

Device = torch.device
PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def configure(*, num_threads: int, deterministic: bool = False, tf32: bool = False) -> dict[str, Any]:
    """Set the process-wide flags; call before any other PyTorch work. Returns them for the run's record.

    Those named `cpu_...` a GPU does not know. `deterministic`: on a GPU, every run leaves the same bits.
    """
    # XLA always flushes denormals on a CPU, so both must. The flag reaches only threads that start after it.
    flush_denormal = torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)
    # float32 means IEEE float32 on GPUs too, unless the benchmark asks for TF32.
    _set_float32_precision("tf32" if tf32 else "ieee")
    # Of the device and of both variants: cuDNN times its own algorithms, and may choose another in the next process.
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    return {
        "cpu_flush_denormal": flush_denormal,
        "float32_matmul": "tf32" if tf32 else "ieee",
        "cudnn_benchmark": not deterministic,
        "deterministic": deterministic,
    }


def _set_float32_precision(precision: str) -> None:
    """`ieee`, or `tf32` for the tensor cores of GPUs: all switches alike, for PyTorch itself asks for several."""
    backends: Any = torch.backends
    cudnn = backends.cudnn
    for switch in (backends, backends.cuda.matmul, cudnn, cudnn.conv, cudnn.rnn):
        switch.fp32_precision = precision


def select_device(name: str) -> Device:
    """`auto` takes the accelerator (CUDA, ROCm, MPS, XPU) if there is one; `gpu` without one raises UserError."""
    if name == "cpu" or (name == "auto" and not torch.accelerator.is_available()):
        return torch.device("cpu")
    if not torch.accelerator.is_available():
        raise UserError(
            "--device gpu: PyTorch finds no accelerator here; pass --device cpu, or install a PyTorch build for yours"
        )
    device = torch.accelerator.current_accelerator()
    assert device is not None
    return device


def choose_execution(name: str, device: Device) -> str:
    """`auto` is `chunk`, a CUDA graph that is replayed, on CUDA and ROCm, and `step` elsewhere."""
    if name == "chunk" and device.type != "cuda":
        raise UserError(
            f"--execution chunk: PyTorch's is a CUDA graph, which needs CUDA, not {device.type}: leave it out"
        )
    return name if name != "auto" else "chunk" if device.type == "cuda" else "step"


def device_name(device: Device) -> str:
    """What the report calls the device: `cpu`, or the name the driver gives."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def has_float64(device: Device) -> bool:
    """Whether it computes in double precision at all: Apple's GPUs do not."""
    return device.type != "mps"


def peak_memory(device: Device) -> dict[str, Any]:
    """Most memory held at once so far, and what the number is of: on a GPU, tensors in PyTorch's allocator."""
    if device.type != "cuda":
        return {"peak_memory_bytes": process_peak_memory_bytes(), "peak_memory_kind": "process"}
    return {
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device),
        "peak_memory_kind": "allocator",
        "peak_memory_reserved_bytes": torch.cuda.max_memory_reserved(device),
        "peak_memory_process_bytes": process_peak_memory_bytes(),
    }


def watch_compilation() -> Callable[[], float]:
    """Watch from now on; the call that comes back ends it and gives the seconds in which something was compiled."""
    # Importing Dynamo takes seconds. `Module.compile` does it: before, PyTorch compiles nothing.
    if "torch._dynamo" not in sys.modules:
        return lambda: 0.0
    from torch._dynamo.callback import callback_handler

    spans: list[tuple[float, float]] = []
    started = [0.0]

    def note_start(_: object) -> None:
        started[0] = time.perf_counter()

    def note_end(_: object) -> None:
        spans.append((started[0], time.perf_counter()))  # Dynamo tells of the outermost compilation alone

    callback_handler.register_start_callback(note_start)
    callback_handler.register_end_callback(note_end)

    def stop() -> float:
        callback_handler.remove_start_callback(note_start)
        callback_handler.remove_end_callback(note_end)
        return sum(end - start for start, end in spans)

    return stop


def matrix_multiplication(device: Device, size: int, precision: str) -> Callable[..., None]:
    """A call that multiplies two square matrices some times, into such a matrix, and returns once that is done."""
    left, right = torch.randn(2, size, size, device=device).to(PRECISIONS[precision])
    result = torch.empty_like(left)

    def multiply(times: int = 1) -> None:
        _set_float32_precision("tf32" if precision == "tf32" else "ieee")
        for _ in range(times):
            torch.mm(left, right, out=result)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    return multiply


def profile(run: Callable[[], None], num_steps: int) -> dict[str, float]:
    """What of so many steps the profiler sees: operations of the device, and the host's calls that started them."""
    from torch.profiler import DeviceType, ProfilerActivity

    on_gpu = torch.cuda.is_available()
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as profiler:
        run()
    events = profiler.events() or []
    on_device = [event for event in events if event.device_type == DeviceType.CUDA]
    launches = [event.name for event in events if re.match(r"cu(da)?(Graph)?Launch", event.name)]
    return {
        "operations_per_step": len(on_device or events) / num_steps,
        "launches_per_step": len(launches) / num_steps,
        "graph_launches_per_step": sum("Graph" in name for name in launches) / num_steps,
        **_fallbacks(),
    }


def _fallbacks() -> dict[str, float]:
    """How often torch.compile, since the process began, went on without a graph; nothing where it was never asked."""
    if "torch._dynamo" not in sys.modules:
        return {}
    from torch._dynamo.utils import counters

    return {
        "graph_breaks": counters["graph_break"].total(),
        "cudagraph_skips": counters["inductor"]["cudagraph_skips"],
    }
