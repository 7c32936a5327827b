"""Settings and fixtures of the whole suite: both frameworks on the CPU, tiny networks, silent broadcasting refused."""

import os
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Two workers share two cores (`make unit`): each computes on one, and a thread that waits sleeps instead of spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# What the evaluator computes of real digits once is found here again by the next test run, as JAX's compilations are.
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "home")

import jax
import numpy as np
import pytest

import jax_impl.device
import torch_impl.device

NUM_THREADS = int(os.environ["OMP_NUM_THREADS"])
# Before anything else touches the frameworks: XLA reads its flags once, torch's threads inherit their modes.
torch_impl.device.configure(num_threads=NUM_THREADS)
jax_impl.device.configure(num_threads=NUM_THREADS)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Every trainer compiles its own step; equal ones are found here again, also by the next test run.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(autouse=True)
def _leave_float64_off():
    """A float64 trainer switches x64 on for its whole process; each test starts without it."""
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """512 real digits, uint8 (512, 28, 28)."""
    from common.data.datasets import load_dataset

    return load_dataset().train_images[:512]
