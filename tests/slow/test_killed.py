"""However it is interrupted, `--resume` or `--go-on` ends in the bytes of an undisturbed run: `make test-long`."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.counting import DATA_FLAGS

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
QUICKLY = ["--threads=1", "--quick-scoring", "--draws=1"]
FLAGS = ["--preset=smoke", "--train-size=512", "--batch-size=16", "--epochs=3", *QUICKLY]  # 3 x 32 steps
FILES = ("step_*.safetensors", "losses.csv", "epoch_*.png", "progress.npz", "epochs.csv", "status.json")
NUM_MOMENTS = 20


def drawn_moments(seed: int = 0) -> list[tuple[str, str, str]]:
    """Trainer, a moment, and a second one for the resumed run, which now and then is killed again."""
    draw = random.Random(seed)

    def moment() -> str:
        if draw.random() < 0.25:
            return f"chunk::{draw.randint(1, 6)}"
        return f"{draw.choice(['half', 'whole', 'renamed'])}:{draw.choice(FILES)}:{draw.randint(1, 3)}"

    return [
        (("jax", "torch", "counting", "counting")[index % 4], moment(), moment() if index % 3 == 2 else "none")
        for index in range(NUM_MOMENTS)
    ]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    cache = tmp_path_factory.mktemp("xla")
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PJRT_NPROC": "1",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }


def run(trainer: str, moment: str, *flags: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.saboteur", trainer, moment, *flags]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def undisturbed(environment, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    runs = {}
    for trainer in ("torch", "jax", "counting"):
        folder = tmp_path_factory.mktemp(trainer)
        result = run(trainer, "none", *flags_of(trainer), f"--output={folder}", environment=environment)
        assert result.returncode == 0, result.stderr
        runs[trainer] = contents(folder / folder_of(trainer))
    return runs


def flags_of(trainer: str) -> list[str]:
    return [*DATA_FLAGS, "--epochs=3", *QUICKLY] if trainer == "counting" else FLAGS


def folder_of(trainer: str) -> str:
    return "jax" if trainer == "jax" else "torch"


def contents(run_folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on whether a run was interrupted."""
    names = ["losses.csv", "epochs.csv", "progress.npz", "samples.npz", "checkpoints/step_96.safetensors"]
    names += [f"samples/epoch_{epoch:03d}.png" for epoch in range(4)]
    return {name: (run_folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("index", range(NUM_MOMENTS), ids=lambda index: " ".join(drawn_moments()[index]))
def test_a_killed_run_that_is_resumed_leaves_the_same_bytes(index, environment, undisturbed, tmp_path):
    trainer, first, second = drawn_moments()[index]
    flags, folder = flags_of(trainer), tmp_path / folder_of(trainer)
    killed = run(trainer, first, *flags, f"--output={tmp_path}", environment=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for moment in (second, "none"):
        place = f"--resume={folder}" if (folder / "config.json").exists() else f"--output={tmp_path}"
        resumed = run(trainer, moment, *flags, place, environment=environment)
    assert resumed.returncode == 0, resumed.stderr
    assert list(folder.rglob("*.tmp")) == []
    assert [name for name, content in contents(folder).items() if undisturbed[trainer][name] != content] == []


@pytest.mark.parametrize("index", range(NUM_MOMENTS), ids=lambda index: " ".join(drawn_moments(seed=1)[index]))
def test_a_killed_run_that_is_started_again_with_the_same_words_leaves_the_same_bytes(
    index, environment, undisturbed, tmp_path
):
    trainer, *moments = drawn_moments(seed=1)[index]
    words, folder = [*flags_of(trainer), f"--output={tmp_path}", "--go-on"], tmp_path / folder_of(trainer)
    assert run(trainer, moments[0], *words, environment=environment).returncode == -signal.SIGKILL
    for moment in (moments[1], "none", "none"):  # the last one finds it finished
        again = run(trainer, moment, *words, environment=environment)
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stdout.replace("\n", "")
    assert list(folder.rglob("*.tmp")) == []
    assert [name for name, content in contents(folder).items() if undisturbed[trainer][name] != content] == []


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_first_says_how_to_resume_and_resuming_leaves_the_same_bytes(
    framework, number, environment, undisturbed, tmp_path
):
    command = [sys.executable, "-m", "tests.saboteur", framework, "none", *FLAGS, f"--output={tmp_path}"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (tmp_path / framework / "epochs.csv").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 128 + number, errors
    assert f"--resume {tmp_path / framework}" in output.replace("\n", "")
    resumed = run(framework, "none", f"--resume={tmp_path / framework}", *QUICKLY, environment=environment)
    assert resumed.returncode == 0, resumed.stderr
    assert contents(tmp_path / framework) == undisturbed[framework]


@pytest.mark.parametrize(("framework", "number"), [("torch", signal.SIGTERM), ("jax", signal.SIGINT)])
def test_a_signal_during_scoring_says_how_to_go_on_and_scoring_is_made_up_for(framework, number, environment, tmp_path):
    run_folder = tmp_path / framework
    command = [sys.executable, "-m", f"{framework}_impl", *FLAGS, "--epochs=1", f"--output={tmp_path}"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (run_folder / "samples.npz").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 128 + number, errors
    assert f"--resume {run_folder}" in output
    assert json.loads((run_folder / "status.json").read_text())["status"] == "interrupted"
    assert not (run_folder / "metrics.json").exists()
    command = [sys.executable, "-m", f"{framework}_impl", f"--resume={run_folder}", *QUICKLY]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=500, check=True)
    assert (run_folder / "metrics.json").exists()


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("step_*.safetensors", "step_64.safetensors"), ("losses.csv", "losses.csv"), ("epoch_*.png", "epoch_001.png")],
)
def test_a_full_disk_is_one_line_and_costs_nothing_but_time(pattern, name, environment, undisturbed, tmp_path):
    flags = [*FLAGS, f"--output={tmp_path}"]
    full = run("torch", f"full:{pattern}:2", *flags, environment=environment)
    assert full.returncode == 1
    assert len(full.stderr.strip().splitlines()) == 1, full.stderr
    assert f"{name} could not be written" in full.stderr
    assert "--resume" in full.stderr
    resumed = run("torch", "none", f"--resume={tmp_path / 'torch'}", *QUICKLY, environment=environment)
    assert resumed.returncode == 0, resumed.stderr
    assert contents(tmp_path / "torch") == undisturbed["torch"]


def test_compare_goes_on_with_whichever_half_is_unfinished(environment, tmp_path):
    folder = tmp_path / "run"
    flags = [flag for flag in FLAGS if not flag.startswith("--threads")]
    assert run("torch", "none", *flags, f"--output={folder}", environment=environment).returncode == 0
    assert run("jax", "chunk::3", *flags, f"--output={folder}", environment=environment).returncode == -signal.SIGKILL
    before = (folder / "torch" / "timing.json").stat().st_mtime_ns
    command = [sys.executable, "compare.py", "--resume", str(folder), "--no-certify", *QUICKLY]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    assert (folder / "torch" / "timing.json").stat().st_mtime_ns == before
    assert (folder / "report.html").exists()
    again = subprocess.run(
        [*command, "--batch-size=8"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )
    assert again.returncode == 2
    assert "another batch_size (16 / 8)" in again.stderr


@pytest.mark.parametrize("turns", ["on", "off"])
def test_runs_of_a_comparison_leave_the_bytes_of_runs_alone(turns, environment, undisturbed, tmp_path):
    command = [sys.executable, "compare.py", *FLAGS, "--no-certify", "--skip-epoch-quality", f"--turns={turns}"]
    command += [f"--output={tmp_path / 'run'}"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    for framework in ("torch", "jax"):
        for name in ("losses.csv", "progress.npz", "checkpoints/step_96.safetensors"):
            assert (tmp_path / "run" / framework / name).read_bytes() == undisturbed[framework][name], name
        timing = json.loads((tmp_path / "run" / framework / "timing.json").read_text())
        assert ("waiting_seconds" in timing) == (turns == "on")


def test_one_framework_goes_on_with_what_the_other_began(environment, undisturbed, tmp_path):
    """The record is one: up to the handover it is the other's, and from there it parts as rounding has it."""
    assert run("torch", "chunk::5", *FLAGS, f"--output={tmp_path / 'a'}", environment=environment).returncode < 0
    origin, target = tmp_path / "a" / "torch", tmp_path / "b"
    result = run("jax", "none", f"--resume={origin}", f"--output={target}", *QUICKLY, environment=environment)
    assert result.returncode == 0, result.stderr
    found = (target / "jax" / "losses.csv").read_text().splitlines()
    expected = undisturbed["torch"]["losses.csv"].decode().splitlines()
    assert len(found) == len(expected) == 97
    assert found[:65] == expected[:65]
    first_of_jax, first_of_torch = (float(row[65].split(",")[2]) for row in (found, expected))
    assert first_of_jax == pytest.approx(first_of_torch, rel=1e-4)


def start_comparison(folder: Path) -> subprocess.Popen[str]:
    """A comparison that would go on for long, once PyTorch has finished its first epoch."""
    flags = ["--preset=smoke", "--epochs=500", "--train-size=1280", "--threads=1", "--skip-epoch-quality"]
    process = subprocess.Popen(
        [sys.executable, "compare.py", *flags, f"--output={folder}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not (folder / "torch" / "epochs.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return process


def test_sigterm_to_compare_alone_reaches_the_framework_that_trains_and_the_one_that_waits(tmp_path):
    process = start_comparison(tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == ""
    assert "compare report" in output
    for framework in ("torch", "jax"):
        assert json.loads((tmp_path / "run" / framework / "status.json").read_text())["status"] == "interrupted"


def test_both_frameworks_save_and_end_when_compare_is_killed(tmp_path):
    parent = start_comparison(tmp_path / "run")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    for framework in ("torch", "jax"):
        while json.loads((tmp_path / "run" / framework / "status.json").read_text())["status"] != "interrupted":
            assert time.monotonic() < deadline, framework
            time.sleep(0.1)


def test_a_killed_process_is_reported_and_not_taken_for_finished(tmp_path):
    parent = start_comparison(tmp_path / "run")
    for child in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    _, errors = parent.communicate(timeout=60)
    assert parent.returncode == 1
    assert "SIGKILL" in errors
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "run" / "torch" / "status.json").read_text())["status"] == "failed"
