"""Checkpoints that belong to no framework: safetensors with canonical names (common/contract.py)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from common.contract import Weights
from common.errors import UserError
from common.records import write_atomically

FORMAT_VERSION = "1"
NUM_KEPT = 2
AVERAGE_PREFIX = "average."


class Checkpoint(NamedTuple):
    """What `load_checkpoint` finds: the trainer's weights, the generator's average, and the run it came from."""

    weights: Weights
    average: Weights
    header: dict[str, Any]


def save_checkpoint(folder: Path, weights: Weights, average: Weights, *, step: int, header: Mapping[str, Any]) -> Path:
    """Write `step_N.safetensors` with `header` as JSON inside, then drop all but the last two."""
    path = folder / f"step_{step}.safetensors"
    metadata = {"format_version": FORMAT_VERSION, "run": json.dumps({**header, "step": step})}
    tensors = weights | {f"{AVERAGE_PREFIX}{name}": array for name, array in average.items()}
    write_atomically(path, save(tensors, metadata=metadata))
    for old in list_checkpoints(folder)[:-NUM_KEPT]:
        old.unlink()
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint back; a damaged or foreign file raises UserError."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format_version") != FORMAT_VERSION:
                raise UserError(f"{path} is not a checkpoint of format version {FORMAT_VERSION}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads(metadata["run"])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read as a checkpoint ({error})") from None
    average = {name: array for name, array in tensors.items() if name.startswith(AVERAGE_PREFIX)}
    return Checkpoint(
        weights={name: array for name, array in tensors.items() if name not in average},
        average={name.removeprefix(AVERAGE_PREFIX): array for name, array in average.items()},
        header=header,
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step_*.safetensors"), key=lambda path: int(path.stem.removeprefix("step_")))
