"""Both frameworks, set up for tests: imported by the conftest of every folder whose tests need them, before they do."""

import os

import jax
import pytest

import jax_impl.device
import torch_impl.device

NUM_THREADS = int(os.environ["OMP_NUM_THREADS"])
# Before anything else touches the frameworks: XLA reads its flags once, torch's threads inherit their modes.
torch_impl.device.configure(num_threads=NUM_THREADS)
jax_impl.device.configure(num_threads=NUM_THREADS)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def leave_float64_off():
    """A float64 trainer switches x64 on for its whole process; each test starts without it."""
    yield
    jax.config.update("jax_enable_x64", False)
