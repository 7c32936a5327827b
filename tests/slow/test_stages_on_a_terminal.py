"""Every command that takes long says on a terminal what it is at, and leaves nothing of it behind: `make test-long`."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.data.datasets import load_dataset

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SMALL = ["--preset=smoke", "--train-size=1024", "--batch-size=16", "--device=cpu"]
# A terminal 40 columns wide cuts what is longer.
STAGES = {
    "compare.py": ("PyTorch: scoring the samples", "Climbing the ladder: rung 0", "Drawing the report's figures"),
    "compare.py bench": ("Compiling what can be compiled", "Measuring torch, jax", "Measuring the best matrix"),
    "compare.py parity --planted-bugs": ("Planting bugs",),
    "compare.py convert": ("Converting",),
    "torch_impl sample": ("Making 10,000 images",),
    "jax_impl interpolate": ("Making 2,000 images",),
    "common.evaluation": ("Scoring the samples",),
}


def on_terminal(words: list[str], width: int, *, until: str = "", **environment: str) -> str:
    """What a terminal of that width is sent by a command, which is interrupted once it has been sent `until`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment},
        start_new_session=True,
    )
    os.close(theirs)
    sent, is_stopped = "", False
    try:
        while part := os.read(ours, 65_536):
            sent += part.decode(errors="replace")
            if until and not is_stopped and until in ESCAPE.sub("", sent):
                is_stopped = True
                process.terminate()
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0 or is_stopped, sent
    return sent


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A comparison of two small runs, cold, and what its terminal was sent."""
    folder = tmp_path_factory.mktemp("terminal") / "run"
    return folder, on_terminal([str(ROOT / "compare.py"), *SMALL, f"--output={folder}"], 80)


@pytest.fixture
def sent_to_terminal(comparison: tuple[Path, str], tmp_path: Path) -> Callable[..., str]:
    """Runs one of the commands of `STAGES` on a terminal."""
    folder, of_comparison = comparison
    compare, torch_run = str(ROOT / "compare.py"), str(folder / "torch")
    words = {
        "compare.py bench": [compare, "bench", *SMALL, "--arms=torch,jax", "--repetitions=5", "--num-blocks=2"],
        "compare.py parity --planted-bugs": [compare, "parity", "--planted-bugs", "--preset=smoke"],
        "compare.py convert": [compare, "convert", torch_run, "--to=orbax", f"--out={tmp_path / 'orbax'}"],
        "torch_impl sample": ["-m", "torch_impl", "sample", torch_run, "--num=10000", f"--out={tmp_path / 'a.png'}"],
        "jax_impl interpolate": [
            *("-m", "jax_impl", "interpolate", "--pretrained", "--from-class=6", "--to-class=9"),
            f"--out={tmp_path / 'way.png'}",
        ],
        "common.evaluation": ["-m", "common.evaluation", str(tmp_path / "digits.npz"), "--quick"],
    }
    np.savez(tmp_path / "digits.npz", images=load_dataset().test_images)

    def run(command: str, width: int, **more: str) -> str:
        if command == "compare.py":
            return of_comparison
        return on_terminal(words[command], width, **more)

    return run


@pytest.mark.parametrize("command", STAGES)
def test_a_terminal_is_told_each_long_stage_of(command, sent_to_terminal):
    sent = ESCAPE.sub("", sent_to_terminal(command, 80, until="Planting bugs" if "planted" in command else ""))
    for stage in STAGES[command]:
        assert stage in sent
