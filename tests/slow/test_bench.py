"""A whole benchmark, small: `make test-long`. What it measures is not asserted, only what it leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUIET_ENOUGH, TOO_NOISY = 0, 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_benchmark_leaves_what_its_names_promise(tmp_path):
    command = [sys.executable, "compare.py", "bench", "--preset=smoke", "--arms=torch,jax"]
    command += ["--repetitions=5", "--steps-per-block=2", "--num-blocks=2", "--no-certify"]
    command += [f"--json={tmp_path / 'bench.json'}", f"--output={tmp_path / 'report'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode in (QUIET_ENOUGH, TOO_NOISY), result.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["control"]["holds"] is (result.returncode == QUIET_ENOUGH)
    assert {"ratio", "low", "high"} < found["control"].keys()
    assert found["roof"]["float32_gflops_per_second"] > 0
    assert found["roof"]["bfloat16_gflops_per_second"] > 0
    assert list(found["arms"]) == ["torch", "jax"]
    for arm in found["arms"].values():
        assert arm["milliseconds_per_step"].keys() == {"median", "low", "high"}
        assert arm["fraction_of_roof"] > 0
        assert arm["peak_memory_bytes"] > 1e8
        assert arm["num_repetitions"] == 5
    assert found["ratios"] == {}, "without a certificate there is no ratio"
    assert found["refused"].keys() == found["arms"].keys()
    # The same weights, images and latents: what the arms do is the same, whatever it costs.
    assert found["first_loss_differences"]["jax"] < 1e-3
    assert found["compilation"].keys() == {"jax"}
    assert "No ratio for jax" in (tmp_path / "report" / "speed.md").read_text()
    assert (tmp_path / "report" / "figures" / "phases.png").stat().st_size > 5000
