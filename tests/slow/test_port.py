"""The notebook runs from its first cell to its last, and planted bugs of the twins are found as the page says."""

import os
import time
from pathlib import Path

import nbformat
import pytest
import torch
from flax import nnx
from nbclient import NotebookClient

from comparison.port.compare import compare
from tests.comparison.port import planted
from tests.comparison.port.detect import look_at_planted
from tests.comparison.port.pairs import drawn

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_the_notebook_runs(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(ROOT / "docs" / "how-to" / "port-a-model.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert "flipping the kernel's axes makes it agree" in str(notebook.cells)


def test_every_eighth_planted_bug_is_found_or_known_to_be_missed_and_clean_networks_agree():
    """`python -m tests.comparison.port.detect` looks at all of them for the page."""
    assert [found.name for found in look_at_planted(planted.BUGS[::8]) if not found.is_right] == []


def test_fifty_modules_take_less_than_a_minute():
    """Counted in processor time, for a test may have to share its processors."""
    torch_module = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(50)))
    flax_module = nnx.Sequential(*(nnx.Linear(64, 64, rngs=nnx.Rngs(0)) for _ in range(50)))
    start = time.process_time()
    assert compare(torch_module, flax_module, drawn(32, 64)).first is None
    assert time.process_time() - start < 60
