"""The checkpoints of a run's folder: written, found, and read back."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.config import TrainConfig, config_hash, to_dict
from common.contract import Weights
from common.errors import UserError
from common.records.environment import package_versions
from common.records.folder import CHECKPOINTS, write_atomically
from common.safe_read import one_line, parse_json, read_bounded, unreadable_is_named

FORMAT_VERSION = 3
READABLE_VERSIONS = (2, 3)  # in 2, the average had moved once a chunk of steps
AVERAGE_PREFIX = "average."
SUFFIX = ".safetensors"
METADATA_KEY = "checkpoint"  # one key: safetensors writes several in any order, and equal runs leave equal bytes
UNSIGNED = "0" * 64
LENGTH_BYTES = 8
NUM_KEPT = 2
TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")  # of a zip archive, and of an older pickle
BRING_BACK = "bring a model back by `compare.py convert PATH --to safetensors --like RUN`"
MAX_BYTES = 2**30  # twenty times the largest preset's, in float64


class Checkpoint(NamedTuple):
    """What `load_checkpoint` finds: the trainer's weights, the generator's average, and the run it came from."""

    weights: Weights
    average: Weights
    header: dict[str, Any]


def serialise(weights: Weights, average: Weights, header: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint file; equal arguments give equal bytes."""
    tensors = weights | {f"{AVERAGE_PREFIX}{name}": array for name, array in average.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, "sha256": UNSIGNED, **header})
    unsigned = save(tensors, metadata={METADATA_KEY: text})
    end = LENGTH_BYTES + int.from_bytes(unsigned[:LENGTH_BYTES], "little")
    checksum = hashlib.sha256(unsigned).hexdigest().encode()
    return b"".join((unsigned[:end].replace(UNSIGNED.encode(), checksum, 1), memoryview(unsigned)[end:]))


def deserialise(content: bytes) -> Checkpoint:
    """A checkpoint from a file's content; any changed byte raises ValueError, LookupError or SafetensorError."""
    if content.startswith(TORCH_MAGIC):
        raise ValueError(f"it is a file of PyTorch; {BRING_BACK}")
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    if not LENGTH_BYTES < end <= len(content):
        raise ValueError("it is truncated, or no safetensors file")
    head = content[:end]
    metadata = parse_json(head[LENGTH_BYTES:]).get("__metadata__")
    if isinstance(metadata, dict) and "model" in metadata:
        raise ValueError(f"it is a model without Adam's state, as --pretrained is; {BRING_BACK}")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise ValueError(f"its header is not that of a checkpoint of this project; {BRING_BACK}")
    header = parse_json(metadata[METADATA_KEY].encode())
    if header.get("format_version") not in READABLE_VERSIONS:
        known = " or ".join(map(str, READABLE_VERSIONS))
        raise ValueError(f"its format version is {header.get('format_version')!r}, not {known}")
    checksum = str(header.pop("sha256", ""))
    digest = hashlib.sha256(head.replace(checksum.encode(), UNSIGNED.encode(), 1))
    digest.update(memoryview(content)[end:])
    if digest.hexdigest() != checksum:
        raise ValueError("its checksum does not match: it is damaged")
    tensors = dict(sorted(load(content).items()))  # safetensors lists them in any order
    average = {name: array for name, array in tensors.items() if name.startswith(AVERAGE_PREFIX)}
    return Checkpoint(
        weights={name: array for name, array in tensors.items() if name not in average},
        average={name.removeprefix(AVERAGE_PREFIX): array for name, array in average.items()},
        header=header,
    )


def save_checkpoint(folder: Path, weights: Weights, average: Weights, *, step: int, header: Mapping[str, Any]) -> Path:
    """Write `step_N.safetensors` with `header` as JSON inside, then drop all but the last two up to there.

    A later one can only be damaged, or the run would have gone on from it.
    """
    path = folder / f"step_{step}.safetensors"
    write_atomically(path, serialise(weights, average, {**header, "step": step}))
    found = list_checkpoints(folder)
    kept = [checkpoint for checkpoint in found if _step_of(checkpoint) <= step][-NUM_KEPT:]
    for checkpoint in {*found}.difference(kept):
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
        return deserialise(read_bounded(path, limit=MAX_BYTES))
    except UserError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{one_line(path)} cannot be read as a checkpoint ({one_line(error)})") from None


def is_checkpoint(path: Path) -> bool:
    """Whether `load_checkpoint` reads it."""
    try:
        load_checkpoint(path)
    except UserError:
        return False
    return True


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
    with unreadable_is_named(path):
        if not path.exists():
            raise UserError(f"{one_line(path)} does not exist: name a checkpoint, or a run folder like runs/NAME/torch")
        found = [path] if path.is_file() else list_checkpoints(path / CHECKPOINTS) or list_checkpoints(path)
    if not found:
        refuse_orbax(path)
        raise UserError(f"{one_line(path)} holds no checkpoints: name a file, or a run folder like runs/NAME/torch")
    return found[-1]


def refuse_orbax(folder: Path) -> None:
    """A UserError for the folder of an Orbax checkpoint, which holds a model but is no run."""
    if (folder / "_CHECKPOINT_METADATA").exists():
        raise UserError(f"{one_line(folder)} is an Orbax checkpoint: {BRING_BACK}")


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; files that do not carry a step's number are none of ours."""
    numbered = [path for path in folder.glob("step_*.safetensors") if path.stem.removeprefix("step_").isdecimal()]
    return sorted(numbered, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))
