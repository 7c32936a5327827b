"""Checkpoints that belong to no framework: safetensors with canonical names (common/contract.py).

One file holds the trainer's weights, Adam's state and the generator's average, and in its header, as one JSON text,
where it came from and a SHA-256 of the whole file. No pickle, so a checkpoint cannot run code.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.config import TrainConfig, config_hash, to_dict
from common.contract import Weights
from common.environment import package_versions
from common.errors import UserError
from common.records import write_atomically
from common.untrusted import one_line, parse_json, read_bounded

FORMAT_VERSION = 2
NUM_KEPT = 2
AVERAGE_PREFIX = "average."
MAX_BYTES = 2**33
METADATA_KEY = "checkpoint"  # one key: safetensors writes several in any order, and equal runs leave equal bytes
UNSIGNED = "0" * 64
LENGTH_BYTES = 8


class Checkpoint(NamedTuple):
    """What `load_checkpoint` finds: the trainer's weights, the generator's average, and the run it came from."""

    weights: Weights
    average: Weights
    header: dict[str, Any]


def save_checkpoint(folder: Path, weights: Weights, average: Weights, *, step: int, header: Mapping[str, Any]) -> Path:
    """Write `step_N.safetensors` with `header` as JSON inside, then drop all but the last two."""
    path = folder / f"step_{step}.safetensors"
    write_atomically(path, serialise(weights, average, {**header, "step": step}))
    for old in list_checkpoints(folder)[:-NUM_KEPT]:
        old.unlink()
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
        return deserialise(read_bounded(path, limit=MAX_BYTES))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
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


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; files that do not carry a step's number are none of ours."""
    numbered = [path for path in folder.glob("step_*.safetensors") if path.stem.removeprefix("step_").isdecimal()]
    return sorted(numbered, key=lambda path: int(path.stem.removeprefix("step_")))


def serialise(weights: Weights, average: Weights, header: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint file; equal arguments give equal bytes."""
    tensors = weights | {f"{AVERAGE_PREFIX}{name}": array for name, array in average.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, "sha256": UNSIGNED, **header})
    unsigned = save(tensors, metadata={METADATA_KEY: text})
    return _with_checksum(unsigned, UNSIGNED, hashlib.sha256(unsigned).hexdigest())


def deserialise(content: bytes) -> Checkpoint:
    """The inverse; a file with any byte changed raises ValueError or SafetensorError."""
    header = _read_header(content)
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"its format version is {header.get('format_version')!r}, not {FORMAT_VERSION}")
    checksum = header.pop("sha256", "")
    if hashlib.sha256(_with_checksum(content, checksum, UNSIGNED)).hexdigest() != checksum:
        raise ValueError("its checksum does not match: it is damaged")
    tensors = dict(sorted(load(content).items()))  # safetensors lists them in any order
    average = {name: array for name, array in tensors.items() if name.startswith(AVERAGE_PREFIX)}
    return Checkpoint(
        weights={name: array for name, array in tensors.items() if name not in average},
        average={name.removeprefix(AVERAGE_PREFIX): array for name, array in average.items()},
        header=header,
    )


def _read_header(content: bytes) -> dict[str, Any]:
    """Our part of safetensors' header: 8 bytes of length, then JSON with `__metadata__`."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if not 0 < length <= len(content) - LENGTH_BYTES:
        raise ValueError("it is truncated, or no safetensors file")
    metadata = parse_json(content[LENGTH_BYTES : LENGTH_BYTES + length]).get("__metadata__") or {}
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise ValueError("its header is not that of a checkpoint of this project")
    return parse_json(metadata[METADATA_KEY].encode())


def _with_checksum(content: bytes, old: str, new: str) -> bytes:
    """The file with the checksum in its header replaced; the tensors are out of reach."""
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    if not isinstance(old, str) or len(old) != len(UNSIGNED):
        raise ValueError("its header holds no checksum")
    return content[:end].replace(old.encode(), new.encode(), 1) + content[end:]
