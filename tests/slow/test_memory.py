"""Memory of a long run: `make test-long`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NUM_EPOCHS, NUM_SETTLING_EPOCHS = 20, 5
TRAIN_SIZE, IMAGE_BYTES = 3200, 32 * 32
# One image kept of each that is trained on, as uint8, is twice this.
MAX_BYTES_PER_EPOCH = TRAIN_SIZE * IMAGE_BYTES / 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of another process from /proc")
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_memory_does_not_grow_over_twenty_epochs(framework, tmp_path):
    resident = resident_bytes_by_epoch(framework, tmp_path)
    assert len(resident) == NUM_EPOCHS, "the loop reports each epoch in a line of its own"
    assert min(resident) > 1e8, "a framework alone takes more: this is not the process that trains"
    growth = slope(resident[NUM_SETTLING_EPOCHS:])
    assert growth < MAX_BYTES_PER_EPOCH, f"{growth / 1e6:.1f} MB an epoch"


def test_a_leak_of_every_image_is_more_than_the_memory_test_allows():
    noise = np.random.default_rng(0).normal(0, 5e6, NUM_EPOCHS - NUM_SETTLING_EPOCHS)
    leak = TRAIN_SIZE * IMAGE_BYTES * np.arange(len(noise))
    assert slope(8e8 + noise) < MAX_BYTES_PER_EPOCH < slope(8e8 + noise + leak)


def resident_bytes_by_epoch(framework, folder):
    """Of one process, as each epoch ends: two processes differ by 40 MB before either has trained."""
    command = [sys.executable, "-u", "-m", f"{framework}_impl", "--preset=smoke", "--quick-scoring"]
    command += ["--skip-epoch-quality", f"--train-size={TRAIN_SIZE}", f"--epochs={NUM_EPOCHS}", f"--output={folder}"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        status = Path(f"/proc/{process.pid}/status")
        resident = [
            int(re.findall(r"^VmRSS:\s+(\d+) kB$", status.read_text(), re.MULTILINE)[0]) * 1024
            for line in process.stdout
            if re.search(r"epoch \d+/", line)
        ]
    assert process.returncode == 0
    return resident


def slope(resident):
    """Bytes an epoch, by least squares."""
    return np.polyfit(np.arange(len(resident)), resident, 1)[0]
