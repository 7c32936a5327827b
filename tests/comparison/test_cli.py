"""The commands as a person runs them: subprocesses, their exit codes, their words."""

import dataclasses
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.commands.dispatch import TWIN_COMMANDS, report_errors, standalone
from common.contract import Framework
from common.errors import UserError
from comparison.commands.dispatch import COMMANDS, run_command
from comparison.run_both import check_devices
from tests.test_boundaries import BLOCK, FRAMEWORK_MODULES

ROOT = Path(__file__).parents[2]
TINY = ["--preset=smoke", "--quick-scoring", "--draws=1", "--train-size=512", "--batch-size=16", "--threads=1"]
TINY += ["--skip-epoch-quality"]


def run(
    *arguments: str, environment: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        timeout=280,
    )


# Python runs a file of this name at its start.
SITECUSTOMIZE = f"""
import sys
from pathlib import Path
for twin, modules in { ({"torch": FRAMEWORK_MODULES["jax"], "jax": FRAMEWORK_MODULES["torch"]})!r}.items():
    if f"{{twin}}_impl" in sys.orig_argv:
        Path(__file__).with_name(twin).touch()
        blocked = modules
        break
else:
    blocked = ()
""" + BLOCK.replace("{blocked!r}", "blocked").replace("{{", "{").replace("}}", "}")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One small comparison on real MNIST, each half without the other framework, shared by tests of what it left."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
    result = run("compare.py", *TINY, "--no-certify", f"--output={folder / 'run'}", environment=environment)
    return result, folder / "run"


def test_each_half_trains_where_the_other_framework_cannot_be_imported(comparison):
    result, folder = comparison
    assert result.returncode == 0, result.stderr
    for framework in ("torch", "jax"):
        assert folder.with_name(framework).exists(), "the other framework was not kept away"
        assert (folder / framework / "metrics.json").exists()


def test_compare_trains_both_and_writes_the_report(comparison):
    result, folder = comparison
    assert result.returncode == 0, result.stderr
    assert "PyTorch: epoch 1/1" in result.stdout
    assert "JAX / Flax NNX: epoch 1/1" in result.stdout
    assert "Both were trained and scored in 0:" in result.stdout
    for name in ("report.html", "report.md", "comparison.json"):
        assert (folder / name).stat().st_size > 1000
    results = json.loads((folder / "comparison.json").read_text())
    for framework in ("torch", "jax"):
        numbers = results["frameworks"][framework]
        assert numbers["steady_images_per_second"]["median"] > 0
        assert 1e8 < numbers["peak_memory_bytes"] < 2.5e9
        assert json.loads((folder / framework / "status.json").read_text())["status"] == "finished"


def test_both_halves_trained_in_one_round_and_slept_while_they_waited(comparison):
    _, folder = comparison
    timings = [json.loads((folder / framework / "timing.json").read_text()) for framework in ("torch", "jax")]
    rounds = [[epoch["round_began_at"] for epoch in timing["epochs"]] for timing in timings]
    assert rounds[0] == rounds[1]
    assert None not in rounds[0]
    for timing in timings:
        assert timing["waiting_seconds"] > 0
        assert timing["waiting_cpu_seconds"] < 0.1 * timing["waiting_seconds"]


def test_both_halves_ran_the_same_config_threads_and_environment(comparison):
    _, folder = comparison
    torch_run, jax_run = (folder / framework for framework in ("torch", "jax"))
    assert (torch_run / "config.json").read_bytes() == (jax_run / "config.json").read_bytes()
    environments = [json.loads((path / "environment.json").read_text()) for path in (torch_run, jax_run)]
    for name in ("num_threads", "num_cpus", "cpu_flags", "memory_bytes", "python", "num_parameters"):
        assert environments[0][name] == environments[1][name]
    variables = [environment["environment_variables"] for environment in environments]
    assert variables[0] == variables[1]
    assert variables[0]["OMP_NUM_THREADS"] == variables[0]["PJRT_NPROC"] == "1"


def test_losses_of_both_agree_at_first_and_stay_close_for_ten_steps(comparison):
    _, folder = comparison
    rows = [
        [line.split(",") for line in (folder / framework / "losses.csv").read_text().splitlines()[1:]]
        for framework in ("torch", "jax")
    ]
    for step, (torch_row, jax_row) in enumerate(zip(*rows, strict=True), start=1):
        for column in (2, 3):
            reference = float(torch_row[column])
            difference = abs(float(jax_row[column]) - reference) / abs(reference)
            assert difference < (1e-4 if step == 1 else 2e-2) or step > 10, (step, column, difference)


def test_the_report_can_be_written_again_whatever_drawing_backend_a_notebook_has_set(comparison):
    _, folder = comparison
    (folder / "report.html").unlink()
    notebook = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    result = run("compare.py", "report", str(folder), environment=notebook)
    assert result.returncode == 0, result.stderr
    assert (folder / "report.html").exists()


def test_a_used_folder_is_refused_before_anything_is_trained(comparison, capsys):
    _, folder = comparison
    before = sorted(path.name for path in folder.rglob("*"))
    words = [*TINY, f"--output={folder}"]
    for command in (
        lambda: report_errors("compare.py", lambda: run_command(words)),
        lambda: standalone("jax", no_framework, words),
    ):
        assert command() == 2
        assert "already holds" in capsys.readouterr().err
    assert sorted(path.name for path in folder.rglob("*")) == before


BAD = {
    "an unknown flag": (["--epoch=3"], "--epochs"),
    "a value of the wrong type": (["--epochs=ten"], "--epochs"),
    "a missing value": (["--epochs"], "--epochs"),
    "an unknown preset": (["--preset=dcgan99"], "choose one of dcgan32"),
    "an unknown choice": (["--variant=fast"], "tuned"),
    "an unknown dataset": (["--dataset=no_such_dataset"], "TFDS knows no such dataset"),
    "a missing data folder": (["--data-dir=/no/such/folder"], "is not a folder"),
    "an empty batch": (["--batch-size=0"], "batch_size is 0"),
    "a batch larger than the data": (["--train-size=100", "--batch-size=101"], "only 100 training images"),
    "more images than there are": (["--train-size=60001"], "60000"),
    "a size the networks do not make": (["--image-size=64"], "makes 32 px images"),
    "a negative learning rate": (["--learning-rate-generator=-1"], "learning_rate_generator"),
    "negative threads": (["--threads=-2"], "--threads"),
    "no such device": (["--device=gpu"], "--device cpu"),
    "an unwritable folder": (["--output=/proc/run"], "--output"),
    "an existing folder that cannot be written": (["--output=/proc/sys/kernel"], "--output"),
    "absurdly many threads": (["--threads=99999999"], "--threads"),
    "a version TFDS does not know": (["--dataset=mnist:9.9.9"], "TFDS knows no such dataset"),
    "a stray word": (["fast"], "fast"),
}


# One parser reads the flags of all commands, which compare.py stands for; each command has its own use of what it read.
NEEDS_DATA = ("an unknown dataset", "a batch larger than the data", "more images than there are", "an empty batch")
NEEDS_FOLDER = ("an unwritable folder", "an existing folder that cannot be written")
CASES: list[object] = [("compare.py", case) for case in BAD if case != "no such device"]
# It starts both frameworks; that what a half says comes through, a missing framework shows.
CASES += [pytest.param("compare.py", "no such device", marks=pytest.mark.slow)]
CASES += [("jax_impl", case) for case in ("an unknown flag", *NEEDS_DATA, *NEEDS_FOLDER, "no such device")]
CASES += [("torch_impl", "no such device")]


def no_framework() -> Framework:
    raise AssertionError("this is found before a framework is loaded")


@pytest.mark.parametrize(("command", "case"), CASES)
def test_bad_input_is_one_line_that_says_what_to_do_and_exit_code_2(command, case, tmp_path, capsys):
    flags, said = BAD[case]
    output = [] if any(flag.startswith("--output") for flag in flags) else [f"--output={tmp_path / 'new'}"]
    words = [*(flags if case == "a stray word" else [*TINY, *flags]), *output]
    if command == "compare.py":
        code, errors = report_errors("compare.py", lambda: run_command(words)), capsys.readouterr().err
    elif case != "no such device":
        code, errors = standalone("jax", no_framework, words), capsys.readouterr().err
    else:
        load_framework = importlib.import_module(f"{command}.__main__").load_framework
        code = standalone(command.removesuffix("_impl"), load_framework, words)
        errors = capsys.readouterr().err
    assert code == 2, errors
    assert said in errors
    assert len(errors.strip().splitlines()) == 1, errors
    assert not (tmp_path / "new").exists()


def test_a_dry_run_of_one_framework_looks_at_the_data_before_it_is_imported(tmp_path, capsys):
    words = [*TINY, "--dry-run", "--dataset=folder", "--data-dir=/no/such/folder", f"--output={tmp_path / 'new'}"]
    assert standalone("jax", no_framework, words) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_console_without_box_drawing_gets_the_same_line():
    plain, boxed = (
        run("compare.py", "--epoch=3", environment={"PYTHONIOENCODING": encoding}).stderr
        for encoding in ("latin-1", "utf-8")
    )
    assert plain == boxed


@pytest.mark.parametrize("missing", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_compare_says_which_framework_is_missing_before_it_trains_the_other(missing, tmp_path):
    (tmp_path / missing).mkdir()
    (tmp_path / missing / "__init__.py").write_text(f"raise ImportError('No module named {missing}')")
    result = run("compare.py", *TINY, f"--output={tmp_path / 'new'}", environment={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert "is not installed" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["losses.csv", "timing.json", "progress.npz"])
def test_a_report_of_damaged_records_names_the_folder_and_the_file(damage, comparison, tmp_path, capsys):
    _, folder = comparison
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = (copy / "jax" / damage).read_bytes()
    (copy / "jax" / damage).write_bytes(content[: len(content) * 2 // 3] + b",\n")
    assert report_errors("compare.py", lambda: run_command(["report", str(copy)])) == 2
    errors = capsys.readouterr().err
    assert "damaged" in errors
    assert str(copy / "jax") in errors
    assert damage in errors
    assert len(errors.strip().splitlines()) == 1


def test_frameworks_on_unequal_devices_are_no_comparison_and_one_accelerator_may_have_two_names():
    check_devices({"torch": "cpu", "jax": "cpu"})
    check_devices({"torch": "NVIDIA H100 80GB HBM3", "jax": "NVIDIA H100"})
    for torch_device, jax_device in (("NVIDIA H100", "cpu"), ("mps", "cpu"), ("xpu", "cpu"), ("cpu", "TPU v4")):
        with pytest.raises(
            UserError, match=f"PyTorch {torch_device}, JAX / Flax NNX {jax_device}.*--device cpu"
        ) as told:
            check_devices({"torch": torch_device, "jax": jax_device})
        assert len(str(told.value).splitlines()) == 1


def test_help_lists_the_commands_one_a_line():
    result = run("compare.py", "--help")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    for name in COMMANDS:
        assert [name] in [words[:1] for words in lines], name
    assert run("compare.py", "--version").stdout.startswith("dcgan-twins ")


@pytest.mark.parametrize("program", [["compare.py"], ["-m", "torch_impl"], ["-m", "jax_impl"]])
def test_help_imports_nothing_heavy(program):
    """SciPy, scikit-learn and the frameworks cost seconds before the first line of help."""
    for words in (["--help"], ["--preset=smoke", "--help"]):
        result = run("-X", "importtime", *program, *words)
        assert result.returncode == 0
        imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
        assert imported.isdisjoint({"torch", "jax", "flax", "scipy", "sklearn", "matplotlib", "onnxruntime"})


def test_every_command_s_module_has_its_options_and_a_main():
    for command in {**COMMANDS, **TWIN_COMMANDS}.values():
        module = importlib.import_module(command.module)
        assert dataclasses.is_dataclass(getattr(module, command.options)), command
        assert callable(module.main), command


def test_a_dry_run_from_a_folder_with_other_sources_checks_both_frameworks_and_the_data_and_writes_nothing(tmp_path):
    for package in ("common", "torch_impl", "jax_impl"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('of another project')")
    folder = tmp_path / "new"
    flags = [*TINY, "--dry-run", "--device=cpu", f"--output={folder}"]
    result = run(str(ROOT / "compare.py"), *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = "512 training images of mnist, 32 steps: checked; nothing was trained or written"
    # On a slow machine, a line before them says how long the start took.
    assert result.stdout.splitlines()[-3:] == ["PyTorch: cpu", "JAX / Flax NNX: cpu", summary]
    assert not folder.exists()


@pytest.fixture
def _sigint_not_ignored():
    """A shell starts background jobs with SIGINT ignored, and a child would inherit that."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("_sigint_not_ignored")
@pytest.mark.parametrize("delay_seconds", [0.6, 1.2])  # in the imports; in the checks
def test_ctrl_c_while_the_program_starts_leaves_no_traceback_and_no_folder(delay_seconds, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "compare.py", *TINY, f"--output={tmp_path / 'new'}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay_seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not (tmp_path / "new").exists()
