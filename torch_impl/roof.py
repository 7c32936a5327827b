"""The multiplication that says what the processor can do at best. Mirrors jax_impl/roof.py."""

from collections.abc import Callable

import torch

from torch_impl.device import Device

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def matrix_multiplication(device: Device, size: int, precision: str) -> Callable[[], None]:
    """A call that multiplies two square matrices, summing in float32, and returns once that is done."""
    left, right = torch.randn(2, size, size, device=device).to(PRECISIONS[precision])
    result = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, right, out=result)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    return multiply
