"""Who may import whom, seen from a fresh interpreter: import-linter checks the text, this checks what happens."""

import subprocess
import sys

import pytest

from common.trackers import TRACKERS

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")
sys.meta_path.insert(0, Blocker())
"""
FRAMEWORK_MODULES = {"torch": ("torch", "torchvision"), "jax": ("jax", "jaxlib", "flax", "optax")}


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=240)


def modules_after(statement: str) -> set[str]:
    result = run_python(f"{statement}\nimport sys\nprint(*sys.modules)")
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in result.stdout.split()}


def test_neutral_code_leaves_both_frameworks_and_all_trackers_alone():
    modules = ("common.training.run", "common.commands.dispatch", "comparison.commands.dispatch", "common.evaluation")
    foreign = {"torch", "jax", "flax", "optax", "tensorflow", *TRACKERS}
    assert modules_after(f"import {', '.join(modules)}").isdisjoint(foreign)


@pytest.mark.parametrize("twin", ["torch", "jax"])
def test_a_missing_framework_is_one_line_and_exit_code_2(twin, tmp_path):
    code = (
        BLOCK.format(blocked=FRAMEWORK_MODULES[twin])
        + "import runpy\n"
        + f"runpy.run_module('{twin}_impl', run_name='__main__')"
    )
    result = run_python(code, "--preset=smoke", f"--output={tmp_path / 'new'}")
    assert result.returncode == 2
    assert "is not installed" in result.stderr
    assert "pip install" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
