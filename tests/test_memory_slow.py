"""Memory of a long run: `make test-long`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EPOCHS = (5, 20)
# A leak of one batch of uint8 images a step would be 1.3 times this, in float32 five times.
MAX_BYTES_PER_EPOCH = 1e6


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_memory_does_not_grow_over_twenty_epochs(framework, tmp_path):
    peaks = []
    for epochs in EPOCHS:
        command = [sys.executable, "-m", f"{framework}_impl", "--preset=smoke", "--train-size=1280", "--quick-scoring"]
        output = tmp_path / str(epochs)
        subprocess.run(
            [*command, f"--epochs={epochs}", f"--output={output}"],
            cwd=ROOT,
            check=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        peaks.append(json.loads((output / framework / "timing.json").read_text())["peak_memory_bytes"])
    assert min(peaks) > 1e8, "a framework alone takes more: this is not the process's own peak"
    growth = (peaks[1] - peaks[0]) / (EPOCHS[1] - EPOCHS[0])
    assert growth < MAX_BYTES_PER_EPOCH, f"{growth / 1e6:.1f} MB an epoch"
