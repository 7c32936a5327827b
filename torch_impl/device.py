"""Which device PyTorch runs on, and the flags set before anything else does. Mirrors jax_impl/device.py."""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from common.errors import UserError
from common.records.environment import process_peak_memory_bytes

Device = torch.device
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def configure(*, num_threads: int) -> dict[str, Any]:
    """Set the process-wide flags; call before any other PyTorch work. Returns them for the run's record."""
    # XLA always flushes denormals, so both must. The flag reaches only threads that start after it.
    flush_denormal = torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)
    # float32 means IEEE float32 on GPUs too: no TF32.
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = True  # of the device and of both variants: cuDNN times its own algorithms
    return {"flush_denormal": flush_denormal, "float32_matmul": "ieee", "cudnn_benchmark": True}


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


def peak_memory_bytes(device: Device) -> int:
    """Most memory held at once so far: of the process on a CPU, of PyTorch's allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process_peak_memory_bytes()


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


def matrix_multiplication(device: Device, size: int, precision: str) -> Callable[[], None]:
    """A call that multiplies two square matrices, summing in float32, and returns once that is done."""
    left, right = torch.randn(2, size, size, device=device).to(PRECISIONS[precision])
    result = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, right, out=result)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    return multiply
