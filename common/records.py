"""The run folder: what a run leaves on disk. Every file is written under a temporary name and renamed."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UserError

LOSSES_HEADER = ("step", "epoch", "discriminator_loss", "generator_loss", "real_score", "fake_score")
EPOCHS_HEADER = (
    "epoch",
    "num_images",
    "training_seconds",
    "data_seconds",
    "evaluation_seconds",
    "images_per_second",
)


def write_atomically(path: Path, content: bytes) -> None:
    """Either the whole new file stands at `path` or what was there before, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


class RunFolder:
    """One framework's run on disk, `runs/<name>/torch` or `runs/<name>/jax`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make the folder; one that is not empty, or cannot be written, raises UserError."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UserError(f"{path} already holds a run: choose another --output, or remove it first")
            (path / "samples").mkdir()
            (path / "checkpoints").mkdir()
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}): choose another --output") from None
        return cls(path)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write NAME as JSON; NaN and infinity are refused, since no other reader would take them."""
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / name, text.encode())

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write NAME with one header line; floats keep every digit."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        write_atomically(self.path / name, text.getvalue().encode())

    def write_png(self, name: str, picture: np.ndarray) -> None:
        """Write a uint8 picture (H, W) or (H, W, 3)."""
        content = io.BytesIO()
        Image.fromarray(picture).save(content, format="PNG")
        write_atomically(self.path / name, content.getvalue())

    def write_npz(self, name: str, **arrays: np.ndarray) -> None:
        """Write named arrays, compressed."""
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
        write_atomically(self.path / name, content.getvalue())

    def write_status(self, status: str, *, message: str, step: int, epoch: int) -> None:
        """`running`, `finished`, `interrupted` or `failed`: only `finished` runs are compared without a warning."""
        self.write_json("status.json", {"status": status, "message": message, "step": step, "epoch": epoch})


def read_status(path: Path) -> dict[str, Any]:
    """What status.json of a run folder says; a run that never came to write it has done nothing."""
    try:
        return json.loads((path / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"status": "failed", "message": "", "step": 0, "epoch": 0}
