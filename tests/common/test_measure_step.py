"""The best matrix multiply, of which every share in a benchmark is a part."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from common.commands import measure_step


@pytest.mark.parametrize(("limit", "sizes"), [(math.inf, ["512", "1024", "2048"]), (-1.0, ["512"])])
def test_a_processor_that_is_slow_at_a_precision_is_not_asked_for_larger_matrices(limit, sizes, monkeypatch):
    monkeypatch.setattr(measure_step, "SLOW_ROOF_SECONDS", limit)
    framework: Any = SimpleNamespace(matrix_multiplication=lambda device, size, precision: lambda: None)
    found = measure_step.roof(framework, device=None)
    assert {precision: list(speeds) for precision, speeds in found.items()} == {"float32": sizes, "bfloat16": sizes}
    assert all(speed > 0 for speeds in found.values() for speed in speeds.values())
