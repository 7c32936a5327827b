"""Every command that takes long says on a terminal what it is at: `make test-long`."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from common.data.datasets import load_dataset

ROOT = Path(__file__).parents[2]
COMPARE = str(ROOT / "compare.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SMALL = ["--preset=smoke", "--train-size=1024", "--batch-size=16", "--device=cpu"]
STAGES = {
    "compare.py": ("PyTorch: scoring the samples", "Drawing the report's figures"),
    "compare.py bench": ("Measuring the best matrix multiply", "Measuring torch, jax"),
    "compare.py parity": ("Climbing the ladder: rung 0",),
    "compare.py parity --planted-bugs": ("Planting bugs",),
    "compare.py convert": ("Converting",),
    "torch_impl sample": ("Making 10,000 images",),
    "jax_impl interpolate": ("Making 2,000 images",),
    "common.evaluation": ("Scoring the samples",),
}
TAKE_MINUTES = ("compare.py bench", "compare.py parity", "compare.py parity --planted-bugs")


def on_terminal(*words: str, until: str | None = None) -> str:
    """What a terminal is sent by a command, without its colours; the command is ended once it was sent `until`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    environment = {**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words]
    sent = ""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            while until is None or until not in sent:
                sent += ESCAPE.sub("", os.read(ours, 65_536).decode(errors="replace"))
        except OSError:  # how Linux says that the other end is closed
            assert process.wait() == 0, sent
        finally:
            os.close(ours)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return sent


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a small comparison, and what its terminal was sent."""
    folder = tmp_path_factory.mktemp("terminal") / "run"
    words = [COMPARE, *SMALL, "--quick-scoring", "--draws=1", "--no-certify", f"--output={folder}"]
    return folder, on_terminal(*words)


@pytest.fixture
def words_of(comparison: tuple[Path, str], tmp_path: Path) -> dict[str, list[str]]:
    """What follows `python` in each command."""
    torch_run, digits = str(comparison[0] / "torch"), str(tmp_path / "digits.npz")
    np.savez(digits, images=load_dataset().test_images)
    return {
        "compare.py bench": [COMPARE, "bench", *SMALL, "--arms=torch,jax", "--no-certify"],
        "compare.py parity": [COMPARE, "parity", *SMALL],
        "compare.py parity --planted-bugs": [COMPARE, "parity", "--planted-bugs", *SMALL],
        "compare.py convert": [COMPARE, "convert", torch_run, "--to=orbax", f"--output={tmp_path / 'orbax'}"],
        "torch_impl sample": ["-m", "torch_impl", "sample", torch_run, "--num=10000", f"--out={tmp_path / 'a.png'}"],
        "jax_impl interpolate": [
            *("-m", "jax_impl", "interpolate", "--pretrained", "--from-class=6", "--to-class=9"),
            f"--out={tmp_path / 'way.png'}",
        ],
        "common.evaluation": ["-m", "common.evaluation", digits, "--quick"],
    }


@pytest.mark.parametrize("command", STAGES)
def test_a_terminal_is_told_each_long_stage_of(command, comparison, words_of):
    *_, last = STAGES[command]
    is_cut_off = command in TAKE_MINUTES
    if command == "compare.py":
        sent = comparison[1]
    else:
        sent = on_terminal(*words_of[command], until=last if is_cut_off else None)
    for stage in STAGES[command]:
        assert stage in sent
