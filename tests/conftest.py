"""Settings of the whole suite, made before anything imports a framework, which no test here does by being collected."""

import math
import os
from importlib.metadata import version
from pathlib import Path

import pytest

import common.stages.displays
from comparison.parity import compilation

CACHE = Path(__file__).parents[1] / ".pytest_cache"

# Processes that tests start inherit all of it.
# Two workers share two cores (the Makefile): each computes on one, and a thread that waits sleeps instead of spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# What the evaluator computes of real digits, and what XLA compiles, is found again by every process and the next run.
os.environ["XDG_CACHE_HOME"] = str(CACHE / "home")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE / "jax")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_configure(config: pytest.Config) -> None:
    """The slow tests look at programs as users run them; those marked gpu, chosen alone, are given one."""
    if config.option.markexpr != "gpu":  # where bytes are compared, `auto` must be the same device everywhere
        os.environ["JAX_PLATFORMS"], os.environ["CUDA_VISIBLE_DEVICES"] = "cpu", ""
    # Tests wait for XLA to compile small networks, not for these to run.
    if config.option.markexpr != "slow" and version("jaxlib").startswith(compilation.JAXLIB):
        os.environ["XLA_FLAGS"] = compilation.FLAGS


@pytest.fixture(autouse=True)
def _no_line_of_a_slow_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program prints must not depend on how busy this machine is; tests of stages have a clock of their own."""
    monkeypatch.setattr(common.stages.displays, "MIN_SECONDS", math.inf)


@pytest.fixture(scope="session")
def digits():
    """512 real digits, uint8 (512, 28, 28)."""
    from common.data.datasets import load_dataset

    return load_dataset().train_images[:512]
