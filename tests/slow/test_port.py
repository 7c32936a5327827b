"""The notebook runs from its first cell to its last, and planted bugs of the twins are found as the page says."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.comparison.port import planted
from tests.comparison.port.detect import look_at_planted

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
