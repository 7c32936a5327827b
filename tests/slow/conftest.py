"""These tests need both frameworks."""

from tests.frameworks import leave_float64_off

__all__ = ["leave_float64_off"]
