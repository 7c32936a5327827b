"""The best matrix multiply, of which every share in a benchmark is a part."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from common.commands import measure_step


def framework_on(device_name: str, counts: list[int]) -> Any:
    """One whose products take no time; notes how many were asked for at once."""
    return SimpleNamespace(
        device_name=lambda device: device_name,
        matrix_multiplication=lambda device, size, precision: lambda times=1: counts.append(times),
    )


def test_on_a_gpu_larger_matrices_are_multiplied_in_more_precisions_and_many_between_two_waits():
    counts: list[int] = []
    found = measure_step.roof(framework_on("NVIDIA H100", counts), device=None)
    assert list(found) == ["float32", "tf32", "bfloat16", "float64"]
    assert all(list(speeds) == ["1024", "2048", "4096", "8192"] for speeds in found.values())
    assert {*counts} == {1, measure_step.NUM_GPU_PRODUCTS}


@pytest.mark.parametrize(("limit", "sizes"), [(math.inf, ["512", "1024", "2048"]), (-1.0, ["512"])])
def test_a_processor_that_is_slow_at_a_precision_is_not_asked_for_larger_matrices(limit, sizes, monkeypatch):
    monkeypatch.setattr(measure_step, "SLOW_ROOF_SECONDS", limit)
    found = measure_step.roof(framework_on("cpu", []), device=None)
    assert {precision: list(speeds) for precision, speeds in found.items()} == {"float32": sizes, "bfloat16": sizes}
    assert all(speed > 0 for speeds in found.values() for speed in speeds.values())
