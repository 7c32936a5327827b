"""The model that `--pretrained` names: weights of half precision, half the size, that ship with the package."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.architectures import architecture_of
from common.averaging import is_averaged
from common.checkpoint_format import Checkpoint
from common.contract import STORAGE_DTYPES, Weights, expected_shapes
from common.errors import UserError
from common.resume import config_of
from common.untrusted import MAX_JSON_BYTES, one_line, parse_json, read_bounded

FOLDER = Path(__file__).parents[1] / "pretrained"
WEIGHTS_FILE, DESCRIPTION_FILE = "dcgan.safetensors", "dcgan.json"
METADATA_KEY = "model"
MAX_BYTES = 2**28
MEND = "reinstall the package, restore the file from git, or name a checkpoint"


def pack(checkpoint: Checkpoint, description: Mapping[str, Any]) -> bytes:
    """The file of a checkpoint: the generator's average and the discriminator in float16, and nothing of Adam."""
    tensors = {name: array for name, array in (checkpoint.weights | checkpoint.average).items() if ".adam." not in name}
    for name, array in tensors.items():
        if not (np.abs(array) <= np.finfo(np.float16).max).all():
            raise UserError(f"{name} does not fit into float16, whose largest number is 65504: take another run")
    halves = {name: array.astype(np.float16) for name, array in sorted(tensors.items())}
    return save(halves, metadata={METADATA_KEY: json.dumps(description)})


def unpack(content: bytes) -> tuple[Weights, dict[str, Any]]:
    """The tensors of a packed file, still in float16, and its description; ValueError for any other file."""
    length = int.from_bytes(content[:8], "little")
    header = parse_json(content[8 : 8 + length])
    try:
        return load(content), parse_json(header["__metadata__"][METADATA_KEY].encode())
    except (SafetensorError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(one_line(error)) from None


def whole(halves: Weights, header: dict[str, Any]) -> Checkpoint:
    """The tensors as a checkpoint has them, with Adam at rest: moments and step counts are zero."""
    config = config_of(header, FOLDER / WEIGHTS_FILE)
    dtype = STORAGE_DTYPES[config.precision]
    stored = {name: array.astype(dtype) for name, array in halves.items()}
    for name, shape in expected_shapes(architecture_of(config, halves)).items():
        if ".adam." in name:
            stored[name] = np.zeros(shape, np.int64 if name.endswith(".adam.step") else dtype)
    return Checkpoint(stored, {name: array for name, array in stored.items() if is_averaged(name)}, header)


def read_pretrained() -> Checkpoint:
    """The shipped model; UserError unless its file is the one that dcgan.json names by its SHA-256."""
    weights, description = FOLDER / WEIGHTS_FILE, FOLDER / DESCRIPTION_FILE
    if not weights.is_file() or not description.is_file():
        raise UserError("--pretrained: this copy of the project comes without its weights: name a checkpoint instead")
    content = read_bounded(weights, limit=MAX_BYTES)
    try:
        expected = parse_json(read_bounded(description, limit=MAX_JSON_BYTES))["sha256"]
        if hashlib.sha256(content).hexdigest() != expected:
            raise ValueError(f"its SHA-256 is not the one in {DESCRIPTION_FILE}")
        return whole(*unpack(content))
    except (ValueError, LookupError) as error:
        raise UserError(f"--pretrained: {weights.name} is damaged ({one_line(error)}): {MEND}") from None
