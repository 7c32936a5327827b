"""The commands of the documentation, run one after the other as a reader would: `make test-long`.

They run in one folder, with what `tests/documented_commands.py` adds to each so that it takes seconds.
"""

import gzip
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.documented_commands import NAMES, ROOT, RUN, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NUM_IMAGES = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the commands run: with pictures, arrays and IDX files, as a reader has them."""
    folder = tmp_path_factory.mktemp("reader")
    images = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 28, 28), dtype=np.uint8)
    (folder / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "photos" / f"{number}.png")
    np.savez(folder / "images.npz", x_train=images, x_test=images[:100])
    (folder / "emnist").mkdir()
    for part, found in (("train", images), ("test", images[:100])):
        head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in found.shape)
        path = folder / "emnist" / f"emnist-letters-{part}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(head + found.tobytes()))
    np.savez(folder / "samples.npz", images=np.resize(images, (2_000, 28, 28)))
    return folder


@pytest.mark.parametrize("run", RUN, ids=lambda run: run.shown)
def test_a_command_of_the_documentation_does_what_its_page_says(run: Run, folder: Path):
    result = in_shell(run, folder)
    assert result.returncode == run.code, f"{result.stdout[-2000:]}{result.stderr[-2000:]}"
    assert not run.leaves or (folder / run.leaves).exists()


def test_both_frameworks_draw_the_same_picture_bit_for_bit(folder: Path):
    assert (folder / "digits.png").read_bytes() == (folder / "the_same_digits.png").read_bytes()


def in_shell(run: Run, folder: Path) -> subprocess.CompletedProcess[str]:
    command = f"{run.shown} {run.added}"
    if run.instead[0]:
        command = command.replace(*run.instead)
    for name, ours in NAMES.items():
        command = command.replace(name, ours)
    _, *words = shlex.split(command.replace("compare.py", str(ROOT / "compare.py"), 1))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
