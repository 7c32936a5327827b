"""The how-to page's small study, as it stands there, killed once: `make test-long`."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_docs import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAGE = (ROOT / "docs" / "how-to" / "seed-studies.md").read_text(encoding="utf-8")


def words() -> list[str]:
    """The command that stands below the mark, for any folder to start from."""
    found = re.search(r"<!-- tested -->\n +python compare\.py (.*)\n", PAGE)
    assert found
    return [sys.executable, "-m", "compare", *shlex.split(found[1])]


def test_the_small_study_of_the_page_goes_on_after_a_kill_and_says_what_its_pairs_show(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = tmp_path / "runs" / "study-smoke"
    killed = subprocess.Popen(words(), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    while not list(folder.glob("smoke/*/*/status.json")) and killed.poll() is None:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = subprocess.run(words(), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    report = json.loads((folder / "report.json").read_text())
    metrics = report["presets"]["smoke"]["metrics"]
    assert set(metrics) == {"frechet_distance", "mnist_score"}
    assert {result["num_pairs"] for result in metrics.values()} == {3}
    assert (folder / "study.html").exists()
    show = [sys.executable, "-m", "compare", "report", str(folder / "smoke" / "seed10")]
    subprocess.run(show, cwd=tmp_path, env=environment, capture_output=True, check=True)
