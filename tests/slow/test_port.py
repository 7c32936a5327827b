"""The notebook runs from its first cell to its last, and every planted bug of the twins is found as the page says."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.comparison.port.detect import look_at_planted

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_the_notebook_runs(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(ROOT / "docs" / "how-to" / "port-a-model.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert "flipping the kernel's axes makes it agree" in str(notebook.cells)


def test_every_planted_bug_of_layers_losses_and_weights_is_found_but_those_known_to_be_missed():
    assert [found.name for found in look_at_planted() if not found.is_right] == []
