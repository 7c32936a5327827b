"""Checkpoints that belong to no framework: safetensors with canonical names (common/contract.py).

One file holds the trainer's weights, Adam's state and the generator's average, and in its header, as one JSON text,
where it came from and a SHA-256 of the whole file. No pickle, so a checkpoint cannot run code.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from safetensors.numpy import load, save

from common.contract import Weights
from common.untrusted import parse_json

FORMAT_VERSION = 2
AVERAGE_PREFIX = "average."
METADATA_KEY = "checkpoint"  # one key: safetensors writes several in any order, and equal runs leave equal bytes
UNSIGNED = "0" * 64
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 2**20  # fifty times any preset's; as JSON it takes up to 20 times its size in memory
HASHED_AT_ONCE = 2**20


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


def deserialise(file: BinaryIO) -> Checkpoint:
    """The inverse; a file with any byte changed raises ValueError or SafetensorError.

    What the header claims is held against the file's size, and the checksum against its bytes, before it is loaded.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = _read_head(file)
    header = _read_header(parse_json(head[LENGTH_BYTES:]), num_tensor_bytes=size - len(head))
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"its format version is {header.get('format_version')!r}, not {FORMAT_VERSION}")
    checksum = header.pop("sha256", "")
    if not isinstance(checksum, str) or len(checksum) != len(UNSIGNED):
        raise ValueError("its header holds no checksum")
    digest = hashlib.sha256(head.replace(checksum.encode(), UNSIGNED.encode(), 1))
    while part := file.read(HASHED_AT_ONCE):
        digest.update(part)
    if digest.hexdigest() != checksum:
        raise ValueError("its checksum does not match: it is damaged")
    file.seek(0)
    tensors = dict(sorted(load(file.read()).items()))  # safetensors lists them in any order
    average = {name: array for name, array in tensors.items() if name.startswith(AVERAGE_PREFIX)}
    return Checkpoint(
        weights={name: array for name, array in tensors.items() if name not in average},
        average={name.removeprefix(AVERAGE_PREFIX): array for name, array in average.items()},
        header=header,
    )


def _read_head(file: BinaryIO) -> bytes:
    """What comes before the tensors: 8 bytes of length, then JSON."""
    length_bytes = file.read(LENGTH_BYTES)
    length = int.from_bytes(length_bytes, "little")
    text = file.read(length) if 0 < length <= MAX_HEADER_BYTES else b""
    if not text or len(text) < length:
        raise ValueError("it is truncated, or no safetensors file")
    return length_bytes + text


def _read_header(tensors: dict[str, Any], *, num_tensor_bytes: int) -> dict[str, Any]:
    """Our part of safetensors' header, its `__metadata__`; the rest says where in the file each tensor ends."""
    metadata = tensors.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise ValueError("its header is not that of a checkpoint of this project")
    claimed = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    if claimed != num_tensor_bytes:
        raise ValueError(f"it is damaged: its header promises {claimed} bytes of tensors, there are {num_tensor_bytes}")
    return parse_json(metadata[METADATA_KEY].encode())
