"""These pairs are written as people write them, who let JAX bring ranks together."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def allow_rank_promotion() -> Iterator[None]:
    """The project's own code may not; see tests/frameworks.py."""
    with jax.numpy_rank_promotion("allow"):
        yield
