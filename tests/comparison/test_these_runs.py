"""A certificate speaks of the very runs that were proved: each honest mistake gets no ratio, and its sentence."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.data.datasets import fit_images
from common.networks.build import build_architecture
from common.options import parse
from common.records.recorded_run import RecordedRun, read_run
from comparison.commands.run import CompareOptions
from comparison.parity.certificate import parity_of
from comparison.parity.first_steps import SMALLEST_TOLERANCE, first_steps, why_other_steps
from comparison.parity.pair import Pair
from comparison.parity.probes.jax_probe import JaxProbe
from comparison.parity.probes.torch_probe import TorchProbe
from comparison.parity.whole_runs import why_not_whole
from comparison.report.figures import Drawn
from comparison.report.write import write_report
from tests.certificates import write_certificate
from tests.synthetic_runs import real_digits, write_comparison, write_json, write_losses

ROOT = Path(__file__).parents[2]
STEPS_PER_EPOCH = 40


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified comparison of 120 steps, whose ratio may be printed."""
    folder = write_comparison(tmp_path_factory.mktemp("runs") / "run", steps_per_epoch=STEPS_PER_EPOCH)
    write_certificate(folder)
    return folder


@pytest.fixture
def folder(certified: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return shutil.copytree(certified, tmp_path / "run")


def why_not(folder: Path) -> str | None:
    """The reason for which the certificate does not hold, or None if it does."""
    runs = {name: run for name in ("torch", "jax") if (run := read_run(folder / name, name)) is not None}
    found = parity_of(folder, runs)
    return None if found["holds"] else found["reason"]


def edit(folder: Path, framework: str, **changes: Any) -> None:
    """Change fields of a run's environment.json."""
    path = folder / framework / "environment.json"
    write_json(path, json.loads(path.read_text()) | changes)


def environment(folder: Path, framework: str) -> dict[str, Any]:
    return json.loads((folder / framework / "environment.json").read_text())


def change_losses(folder: Path, framework: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write losses.csv again with each column changed."""
    run = read_run(folder / framework, framework)
    assert run is not None
    columns = {name: change(run.losses[name]) for name in list(run.losses)[2:]}
    write_losses(folder / framework / "losses.csv", columns, STEPS_PER_EPOCH)


def test_two_whole_runs_that_are_as_the_ladder_saw_them_are_certified(folder: Path) -> None:
    assert why_not(folder) is None


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda losses: 3 * losses, "the discriminator loss of step 1 is 2.0e+00 off"),
        (lambda losses: losses[::-1], "did not train as the ladder did"),
        (lambda losses: losses * np.where(np.arange(120) < 1, 1, 1.14), "of step 2 is 1.4e-01 off"),
        (lambda losses: losses[:50], "finished, but losses.csv has 50 of its 120 steps"),
        (lambda losses: np.where(np.arange(120) == 70, np.nan, losses), "is no number at step 71"),
    ],
    ids=["tripled", "reversed", "another learning rate", "few steps", "no number"],
)
def test_losses_of_another_training_are_known(
    change: Callable[[np.ndarray], np.ndarray], reason: str, framework: str, folder: Path
) -> None:
    change_losses(folder, framework, change)
    assert reason in (why_not(folder) or "")


def test_a_generator_s_loss_alone_gives_another_training_away(folder: Path) -> None:
    """The discriminator's first loss precedes every update."""
    run = read_run(folder / "jax", "jax")
    assert run is not None
    columns = {name: run.losses[name] for name in list(run.losses)[2:]}
    columns["generator_loss"] = columns["generator_loss"] * 1.14
    write_losses(folder / "jax" / "losses.csv", columns, STEPS_PER_EPOCH)
    found = why_not(folder) or ""
    assert found.startswith("JAX / Flax NNX did not train as the ladder did: the generator loss of step 1 is")
    assert found.endswith("off, and rounding explains 1.0e-05")


def test_two_runs_that_part_within_the_first_ten_steps_are_not_the_same_training(folder: Path) -> None:
    """Each within the noise of its own reference, but on the far sides of it."""
    change_losses(folder, "jax", lambda losses: losses + 1.5e-5)
    path = folder / "parity.json"
    content = json.loads(path.read_text())
    write_certificate(folder)  # whose ladder saw JAX part as early
    assert (why_not(folder) or "").startswith("the two runs part too early: the ")
    write_json(path, content)


def test_steps_in_another_order_are_known(folder: Path) -> None:
    run = read_run(folder / "torch", "torch")
    assert run is not None
    columns = {name: run.losses[name] for name in list(run.losses)[2:]}
    write_losses(folder / "torch" / "losses.csv", columns, STEPS_PER_EPOCH + 1)
    assert "does not have its steps in order, epoch by epoch" in (why_not(folder) or "")


@pytest.mark.parametrize(
    ("framework", "variables", "reason"),
    [
        ("jax", {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}, "than JAX / Flax NNX had (XLA_FLAGS)"),
        ("jax", {"JAX_DISABLE_JIT": "1"}, "than JAX / Flax NNX had (JAX_DISABLE_JIT)"),
        ("torch", {"MKL_CBWR": "COMPATIBLE"}, "than PyTorch had (MKL_CBWR)"),
    ],
)
def test_an_environment_variable_of_one_run_that_decides_numbers_is_named(
    framework: str, variables: dict[str, str], reason: str, folder: Path
) -> None:
    edit(folder, framework, environment_variables=variables)
    assert why_not(folder) == f"the parity certificate is for other environment variables {reason}"


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "JAX_COMPILATION_CACHE_DIR", "OMP_WAIT_POLICY", "JAX_PLATFORMS"])
def test_a_variable_that_decides_no_number_of_pytorch_asks_for_no_other_certificate(name: str, folder: Path) -> None:
    edit(folder, "torch", environment_variables={name: "1"})
    assert why_not(folder) is None


def test_speeds_of_unlike_allocators_get_no_ratio(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())
    edit(folder, "jax", environment_variables={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})
    assert why_not(folder) is None
    results = write_report(folder, real_digits(64)).results
    assert results["why_no_ratio"] == "the two runs differ in environment_variables"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"python": "3.12.1"}, "another Python than PyTorch had"),
        ({"cpu_model": "Apple M4"}, "another processor than PyTorch had"),
        ({"device_flags": {"flush_denormal": False}}, "other device flags than PyTorch had (flush_denormal)"),
        ({"package_hashes": {"numpy": "9c1e", "torch": "0"}}, "other builds of packages than PyTorch had (torch)"),
    ],
)
def test_a_run_on_another_machine_or_with_other_flags_is_named(
    changes: dict[str, Any], reason: str, folder: Path
) -> None:
    edit(folder, "torch", **changes)
    assert why_not(folder) == f"the parity certificate is for {reason}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source_hash": "2d1f"}, "other source files than the rest"),
        ({"packages": {"torch": "2.13.0"}}, "other package versions than the rest (torch, torchvision, numpy)"),
        ({"num_threads": 1}, "another number of threads than the rest"),
        ({"environment_variables": {"TORCH_X": "1"}}, "other environment variables than the rest (TORCH_X)"),
        ({}, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_run_that_goes_on_after_a_change_says_which_steps_were_trained_before_it(
    changes: dict[str, Any], reason: str | None, folder: Path
) -> None:
    """One half trained with another source, which was mended; then it was resumed."""
    before = environment(folder, "torch")
    del before["past"]
    edit(folder, "torch", past=[before | changes], resumed_from="here", resumed_at_step=60, resumed_in_place=True)
    assert why_not(folder) == (f"PyTorch trained its steps 1 to 60 with {reason}" if reason else None)
    (folder / "parity.json").unlink()
    assert (reason or "no parity certificate was made") in (why_not(folder) or "")


def test_a_run_that_goes_on_from_another_run_is_named(folder: Path) -> None:
    before = environment(folder, "jax")
    del before["past"]
    edit(folder, "jax", past=[before], resumed_from="runs/other/jax", resumed_at_step=60)
    assert why_not(folder) == (
        "JAX / Flax NNX went on at step 60 from another run, runs/other/jax: train it from the start"
    )
    edit(folder, "jax", past=[], resumed_in_place=True)
    assert why_not(folder) == (
        "nothing is on record of how JAX / Flax NNX trained its first 60 steps: train it from the start"
    )


@pytest.mark.parametrize(
    ("field", "name"),
    [("package_hashes", "package hashes"), ("dataset", "data hash"), ("device_flags", "device flags")],
)
def test_an_older_record_gets_no_ratio_and_says_what_it_lacks(field: str, name: str, folder: Path) -> None:
    path = folder / "torch" / "environment.json"
    write_json(path, {key: value for key, value in environment(folder, "torch").items() if key != field})
    assert why_not(folder) == f"the record of PyTorch lacks its {name}, as an older version wrote it: train it again"


SMOKE = ["--preset=smoke", "--train-size=320", "--epochs=1", "--threads=1"]  # ten steps
# The learning rates of one twin, doubled by what Python imports before anything else.
SABOTAGE = """
import torch_impl.trainer as trainer
create = trainer.create_optimizer
trainer.create_optimizer = lambda network, form, config, rate: create(network, form, config, 2 * rate)
"""


def trained(folder: Path, places: list[Path]) -> dict[str, RecordedRun]:
    """Ten real steps of PyTorch, of a process that finds its modules in `places` first."""
    path = os.pathsep.join(map(str, [*places, ROOT]))
    command = [sys.executable, "-m", "tests.saboteur", "torch", "none", *SMOKE, "--skip-epoch-quality"]
    command += [f"--output={folder}"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT)
    run = read_run(folder / "torch", "torch")
    assert run is not None
    return {"torch": run}


@pytest.mark.slow  # forty seconds: two real runs and the ladder's first steps
def test_a_run_takes_the_ladder_s_first_steps_unless_something_patched_it(digits: np.ndarray, tmp_path: Path) -> None:
    config = parse(CompareOptions, SMOKE, program="").config
    images = fit_images(digits[: config.train_size], config.image_size)
    pair = Pair(TorchProbe(), JaxProbe(), config, build_architecture(config), images, num_steps=10)
    seen = first_steps(pair)
    assert seen is not None
    assert seen["tolerances"][0] == SMALLEST_TOLERANCE
    assert len(seen["tolerances"]) == 10
    assert seen == first_steps(pair)
    clean = trained(tmp_path / "clean", [])
    assert why_not_whole(clean["torch"]) is None
    assert why_other_steps(seen, clean) is None
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    patched = trained(tmp_path / "patched", [tmp_path])
    assert why_not_whole(patched["torch"]) is None, "its records show nothing"
    found = why_other_steps(seen, patched) or ""
    assert found.startswith("PyTorch did not train as the ladder did: the generator loss of step 1 is")
