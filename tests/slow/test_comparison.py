"""A certified comparison and its pictures, as a stranger's shell runs them, without a network: `make test-long`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.sealed import IS_SUPPORTED

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not IS_SUPPORTED, reason="the kernel forbids sockets by seccomp, on Linux alone"),
]
SMALL = ["--preset=smoke", "--train-size=1024", "--batch-size=16", "--quick-scoring", "--draws=1"]
NOT_INHERITED = ("OMP_NUM_THREADS", "PJRT_NPROC", "XDG_CACHE_HOME")


class Stranger(NamedTuple):
    """Someone whose home and current folder we know, and what the comparison printed there."""

    home: Path
    current: Path
    output: str

    @property
    def comparison(self) -> Path:
        """The comparison's folder."""
        return self.home / "runs" / "results"

    def run(self, *arguments: str) -> str:
        """What a command of ours printed: not a word on stderr, and no internet socket."""
        return sealed(self.home, self.current, *arguments)


def sealed(home: Path, current: Path, *arguments: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environment = {**inherited, "HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.sealed", sys.executable, *arguments]
    result = subprocess.run(command, cwd=current, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.returncode}: {result.stdout}{result.stderr}"
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Stranger:
    home = tmp_path_factory.mktemp("home")
    for name in ("current", "tmp"):
        (home / name).mkdir()
    output = sealed(home, home / "current", str(ROOT / "compare.py"), *SMALL, f"--output={home / 'runs' / 'results'}")
    return Stranger(home, home / "current", output)


def test_a_comparison_is_certified_and_prints_its_ratio_or_that_the_machine_was_busy(stranger):
    ratio = re.search(r"PyTorch trains [\d.]+ times as many images per second", stranger.output)
    is_disturbed = "No speed ratio is printed because the speeds are disturbed" in stranger.output
    assert bool(ratio) != is_disturbed, stranger.output
    assert json.loads((stranger.comparison / "comparison.json").read_text())["parity"]["holds"] is True


@pytest.mark.parametrize(
    ("module", "command", "said"),
    [
        ("torch_impl", "sample {run} --num=4 --out=samples.png", "wrote samples.png"),
        ("jax_impl", "sample {run} --num=4 --out=samples.npz", "wrote samples.npz"),
        (
            "torch_impl",
            "interpolate --pretrained --from-class=6 --to-class=9 --num-frames=3 --out=way.png",
            "way.png: 6",
        ),
        ("torch_impl", "arithmetic --pretrained 7-1+0 --out=sum.png", "reads 0 (100 %), and 0 in 8 of the 8"),
        ("jax_impl", "features {run} --num-filters=2 --num-images=2 --out=filters", "wrote filters"),
        ("torch_impl", "animate {run} --out=progress.gif", "wrote progress.gif"),
        ("common.evaluation", "{run}/samples.npz --quick --json=scores.json", "real digits score"),
        (None, "{root}/compare.py report {run}/..", "report.html"),
    ],
    ids=str,
)
def test_no_command_asks_the_network_or_warns_or_leaves_a_file_but_its_result(module, command, said, stranger):
    words = command.format(run=stranger.comparison / "torch", root=ROOT).split()
    assert said in stranger.run(*(["-m", module] if module else []), *words)
    named = {word.removeprefix(f"{flag}=") for word in words for flag in ("--out", "--json") if flag in word}
    left = {path.name for path in stranger.current.iterdir()}
    assert left <= named | {Path(name).with_suffix(".gif").name for name in named}
    for name in left:
        subprocess.run(["rm", "-r", stranger.current / name], check=True)
    assert {path.name for path in stranger.home.iterdir()} == {".cache", "current", "runs", "tmp"}
    assert [path.name for path in (stranger.home / ".cache").iterdir()] == ["dcgan-twins"]
    assert list((stranger.home / "tmp").iterdir()) == []


def test_the_kernel_kills_whoever_opens_an_internet_socket(tmp_path):
    with pytest.raises(AssertionError, match="-31"):  # SIGSYS
        sealed(tmp_path, tmp_path, "-c", "import socket; socket.socket()")
