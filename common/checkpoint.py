"""The checkpoints of a run's folder: written, found, and read back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from common.checkpoint_format import Checkpoint, deserialise, serialise
from common.config import TrainConfig, config_hash, to_dict
from common.contract import Weights
from common.environment import package_versions
from common.errors import UserError
from common.records import CHECKPOINTS, write_atomically
from common.untrusted import one_line, open_bounded

NUM_KEPT = 2
MAX_BYTES = 2**30  # twenty times the largest preset's, in float64


def save_checkpoint(folder: Path, weights: Weights, average: Weights, *, step: int, header: Mapping[str, Any]) -> Path:
    """Write `step_N.safetensors` with `header` as JSON inside, then drop all but the last two up to there.

    A later one can only be damaged, or the run would have gone on from it.
    """
    path = folder / f"step_{step}.safetensors"
    write_atomically(path, serialise(weights, average, {**header, "step": step}))
    found = list_checkpoints(folder)
    kept = [checkpoint for checkpoint in found if _step_of(checkpoint) <= step][-NUM_KEPT:]
    for checkpoint in found:
        if checkpoint not in kept:
            checkpoint.unlink()
    return path


def checkpoint_header(config: TrainConfig, *, framework: str, epoch: int) -> dict[str, Any]:
    """Where a checkpoint comes from; nothing in it differs between two equal runs."""
    return {
        "preset": config.preset,
        "epoch": epoch,
        "config": to_dict(config),
        "config_hash": config_hash(config),
        "framework": framework,
        "versions": package_versions(),
    }


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint back; a damaged or foreign file raises UserError."""
    try:
        with open_bounded(path, limit=MAX_BYTES) as file:
            return deserialise(file)
    except UserError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{one_line(path)} cannot be read as a checkpoint ({one_line(error)})") from None


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint of `folder` that is intact, and a sentence on each newer one that is not."""
    damaged = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path), damaged
        except UserError as error:
            damaged.append(str(error))
    return None, damaged


def find_checkpoint(path: Path) -> Path:
    """A checkpoint itself, or the newest of a run folder or of a folder of checkpoints; else UserError."""
    try:
        if not path.exists():
            raise UserError(f"{one_line(path)} does not exist: name a checkpoint, or a run folder like runs/NAME/torch")
        found = [path] if path.is_file() else list_checkpoints(path / CHECKPOINTS) or list_checkpoints(path)
    except OSError as error:
        raise UserError(f"{one_line(path)} cannot be read ({error.strerror})") from None
    if not found:
        raise UserError(f"{one_line(path)} holds no checkpoints: name a file, or a run folder like runs/NAME/torch")
    return found[-1]


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; files that do not carry a step's number are none of ours."""
    numbered = [path for path in folder.glob("step_*.safetensors") if path.stem.removeprefix("step_").isdecimal()]
    return sorted(numbered, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))
