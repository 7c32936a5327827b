"""A whole benchmark, small: `make test-long`. What it measures is not asserted, only what it leaves."""

import json

import pytest

import comparison.bench.options
from comparison.commands.dispatch import run_command

QUIET_ENOUGH, TOO_NOISY = 0, 1
NUM_REPETITIONS = 2  # fewer than a user may ask for: each of them is a process for each arm


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_benchmark_leaves_what_its_names_promise(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison.bench.options, "MIN_REPETITIONS", NUM_REPETITIONS)
    flags = ["--preset=seed004-mlp", "--train-size=1000", "--arms=torch,jax", f"--repetitions={NUM_REPETITIONS}"]
    flags += ["--steps-per-block=2", "--num-blocks=2", "--no-certify"]
    code = run_command(["bench", *flags, f"--json={tmp_path / 'bench.json'}", f"--output={tmp_path / 'report'}"])
    assert code in (QUIET_ENOUGH, TOO_NOISY)
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["control"]["holds"] is (code == QUIET_ENOUGH)
    assert {"ratio", "low", "high"} < found["control"].keys()
    assert found["roof"]["float32_gflops_per_second"] > 0
    assert found["roof"]["bfloat16_gflops_per_second"] > 0
    assert list(found["arms"]) == ["torch", "jax"]
    for arm in found["arms"].values():
        assert arm["milliseconds_per_step"].keys() == {"median", "low", "high"}
        assert arm["fraction_of_roof"] > 0
        assert arm["peak_memory_bytes"] > 1e8
        assert arm["num_repetitions"] == NUM_REPETITIONS
    assert found["ratios"] == {}, "without a certificate there is no ratio"
    assert found["refused"].keys() == found["arms"].keys()
    assert found["compilation"].keys() == {"jax"}
    assert "No ratio for jax" in (tmp_path / "report" / "speed.md").read_text()
    assert (tmp_path / "report" / "figures" / "phases.svg").stat().st_size > 5000
