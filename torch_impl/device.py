"""Which device PyTorch runs on, and the flags set before anything else does. Mirrors jax_impl/device.py."""

from typing import Any

import torch

from common.environment import process_peak_memory_bytes
from common.errors import UserError

Device = torch.device


def configure(*, num_threads: int) -> dict[str, Any]:
    """Set the process-wide flags; call before any other PyTorch work. Returns them for the run's record."""
    # XLA always flushes denormals, so both must. The flag reaches only threads that start after it.
    flush_denormal = torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)
    # float32 means IEEE float32 on GPUs too: no TF32.
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = True
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


def device_name(device: Device) -> str:
    """What the report calls the device: `cpu`, or the name the driver gives."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory_bytes(device: Device) -> int:
    """Most memory held at once so far: of the process on a CPU, of PyTorch's allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process_peak_memory_bytes()
