"""The folder of a run, and of a comparison of two. Every file is written under a temporary name and renamed."""

import contextlib
import csv
import fcntl
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.console import storable
from common.errors import UserError
from common.safe_read import MAX_JSON_BYTES, one_line, parse_json, read_bounded

FRAMEWORK_NAMES = {"torch": "PyTorch", "jax": "JAX / Flax NNX"}  # run folders are named by the keys
CONFIG_FILE, ENVIRONMENT_FILE, TIMING_FILE = "config.json", "environment.json", "timing.json"
METRICS_FILE, STATUS_FILE = "metrics.json", "status.json"
LOSSES_FILE, EPOCHS_FILE, PROGRESS_FILE, SAMPLES_FILE = "losses.csv", "epochs.csv", "progress.npz", "samples.npz"
ANIMATION_FILE, ERROR_FILE = "progress.gif", "error.txt"
CHECKPOINTS, SAMPLES, LOCK_FILE = "checkpoints", "samples", ".lock"
# Beside the runs of a comparison.
PARITY_FILE, BENCH_FILE, COMPARISON_FILE = "parity.json", "bench.json", "comparison.json"
FILES = {  # pattern in a comparison's folder: what it holds
    COMPARISON_FILE: "every number of this report",
    PARITY_FILE: "the parity certificate",
    BENCH_FILE: "the benchmark",
    "speed.md": "the benchmark with every table",
    "report.html": "this report in one file",
    "report.md": "this report for a repository page",
    "figures": "the figures as SVG and PNG",
    ANIMATION_FILE: "the sample grids of every epoch as an animation, side by side",
    f"*/{CONFIG_FILE}": "the configuration of a run",
    f"*/{ENVIRONMENT_FILE}": "versions, device, threads, flags, command",
    f"*/{LOSSES_FILE}": "losses and scores, one row a step",
    f"*/{EPOCHS_FILE}": "mean losses and scores, one row an epoch",
    f"*/{TIMING_FILE}": "every timed chunk and phase",
    f"*/{SAMPLES}": "grids from fixed latents, one an epoch",
    f"*/{PROGRESS_FILE}": "the same grids as arrays",
    f"*/{ANIMATION_FILE}": "the same as an animation",
    f"*/{SAMPLES_FILE}": "the generated digits that were scored",
    "*/samples_100.png": "the first hundred of them",
    "*/real_and_generated.png": "64 of them beside as many training images",
    "*/losses.png": "both losses of a run over its steps",
    f"*/{CHECKPOINTS}": "weights and optimizer state, framework-neutral",
    f"*/{METRICS_FILE}": "quality metrics with protocol, spread and floor",
    f"*/{ERROR_FILE}": "the traceback of a run that failed",
    f"*/{STATUS_FILE}": "how the run ended",
}


def read_json(path: Path, *, kind: str | None = None) -> dict[str, Any]:
    """The object in the file, or an empty one if there is none; what `schema` does not allow there raises UserError.

    `kind` is the record's name where a file has another: a certificate is kept under its identity.
    """
    from common.records import schema  # --help need not wait for thirty models

    if not path.exists():
        return {}
    try:
        content = parse_json(read_bounded(path, limit=MAX_JSON_BYTES))
        return schema.check(kind or path.name, content) if content else content
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{one_line(path)} is damaged ({one_line(error)}): mend it, or remove it") from None


def write_json(path: Path, content: Mapping[str, Any], *, kind: str | None = None) -> None:
    """Write JSON; NaN, infinity and what `schema` does not declare for this `kind` of file raise ValueError."""
    from common.records import schema

    content = storable(content)
    schema.check(kind or path.name, content, complete=True)
    write_atomically(path, json_bytes(content))


def json_bytes(content: Any, *, indent: int = 2) -> bytes:
    """A JSON file of anything, declared or not; NaN and infinity raise ValueError."""
    return (json.dumps(storable(content), indent=indent, allow_nan=False) + "\n").encode()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """An .npz file of named arrays, compressed."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
    return content.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Either the whole new file stands at `path` or what was there before, also after a power cut.

    An OSError names the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


class RunFolder:
    """One framework's run on disk, `runs/<name>/torch` or `runs/<name>/jax`."""

    def __init__(self, path: Path, framework: str | None = None) -> None:
        self.path = path
        self.framework = framework or path.name

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make the folder; one that is not empty, or cannot be written, raises UserError."""
        try:
            check_new(path)
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            folder.enter()
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}): choose another --output") from None
        return folder

    @classmethod
    def reopen(cls, path: Path, framework: str | None = None) -> "RunFolder":
        """Go on in a folder that holds a run; what a killed process left half-written is removed."""
        folder = cls(path, framework)
        for name in (SAMPLES, CHECKPOINTS):
            if (path / name).is_symlink():
                raise UserError(f"{path / name} is a link: what this run writes would end elsewhere; remove it")
        try:
            folder.enter()
            for temporary in path.rglob(".*.tmp"):
                temporary.unlink()
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}): resume a copy of it") from None
        return folder

    def enter(self) -> None:
        """Lock the folder until this process ends, and make its subfolders; UserError if another run is using it."""
        self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise UserError(f"{self.path} is in use by another run: wait for it, or choose another --output") from None
        for name in (SAMPLES, CHECKPOINTS):
            (self.path / name).mkdir(exist_ok=True)

    def unlock(self) -> None:
        """Let another process use this folder."""
        os.close(self._lock)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write NAME as JSON, like `common.records.folder.write_json`."""
        write_json(self.path / name, content)

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
        write_atomically(self.path / name, npz_bytes(**arrays))

    def write_status(self, status: str, *, message: str, step: int, epoch: int) -> None:
        """`running`, `finished`, `interrupted` or `failed`: only `finished` runs are compared without a warning."""
        self.write_json(STATUS_FILE, {"status": status, "message": message, "step": step, "epoch": epoch})


def check_new(path: Path) -> None:
    """Raise UserError unless a run can begin in this folder, which is known before a framework is imported."""
    if path.is_dir() and not is_blank(path):
        raise UserError(f"{path} already holds a run: choose another --output, remove it first, or go on with --resume")
    check_writable(path)


def check_writable(folder: Path) -> None:
    """Raise UserError unless `folder` can be made and takes a file; what is made to find out is removed again."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output") from None
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def is_blank(path: Path) -> bool:
    """Whether a run's or a comparison's folder is empty, or was left by a process killed before it wrote anything."""
    ours = (SAMPLES, CHECKPOINTS, *FRAMEWORK_NAMES)
    return all(
        entry.name == LOCK_FILE
        or (entry.name in ours and entry.is_dir() and not entry.is_symlink() and is_blank(entry))
        for entry in path.iterdir()
        if not entry.name.endswith(".tmp")
    )


def read_status(path: Path) -> dict[str, Any]:
    """What status.json of a run folder says; a run that never came to write it has done nothing."""
    return {"status": "failed", "message": "", "step": 0, "epoch": 0} | read_json(path / STATUS_FILE)


def is_finished(path: Path) -> bool:
    """Whether the run in this folder came to its end."""
    return read_status(path)["status"] == "finished"
