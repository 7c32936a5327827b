"""These tests need neither framework."""

import sys
from pathlib import Path

import pytest

FRAMEWORKS = {"torch", "jax"}


@pytest.fixture(scope="session")
def runs_alone(request: pytest.FixtureRequest) -> bool:
    """Whether this folder alone was collected, as `make check` does: other tests of the process import frameworks."""
    folder = Path(__file__).parent
    return all(item.path.is_relative_to(folder) for item in request.session.items)


@pytest.fixture(autouse=True)
def _imports_no_framework(runs_alone: bool):
    """Neither a module that is collected nor a test that is run may import one."""
    assert not (runs_alone and FRAMEWORKS & sys.modules.keys()), "collecting these tests imported a framework"
    yield
    assert not (runs_alone and FRAMEWORKS & sys.modules.keys()), "this test imported a framework"
