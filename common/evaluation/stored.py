"""What is computed of real digits once: shipped beside the network for the standard protocol, else kept in a cache."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import common.data.datasets
import common.data.randomness
from common.errors import UserError
from common.evaluation.feature_network import ASSETS, FeatureNetwork, read_asset_json
from common.records.folder import json_bytes, write_atomically
from common.safe_read import cache_dir

MANIFEST_PATH = ASSETS / "stored.json"
LOGGER = logging.getLogger(__name__)
RECOMPUTE = "run python -m common.evaluation.recompute"
Value = TypeVar("Value")


def load_or_compute(
    name: str, network: FeatureNetwork, *, compute: Callable[[], bytes], decode: Callable[[bytes], Value]
) -> Value:
    """The file `name` as it was shipped for this network; else from the cache; else computed, and cached.

    Raises UserError if a shipped file belongs to another network, or is not the committed one.
    """
    content = shipped(name, network.sha256)
    if content is not None:
        return decode(content)
    return cached(name, network.sha256, compute=compute, decode=decode)


def cached(
    name: str, key: str, *, compute: Callable[[], bytes], decode: Callable[[bytes], Value], is_long: bool = True
) -> Value:
    """The file `name` that belongs to `key`, a SHA-256 of all it depends on but code; else computed, and cached.

    What takes seconds alone is not long: nothing is said of it.
    """
    path = (cache_dir() or Path(os.devnull)) / "evaluation" / f"{key[:12]}-{_code_hash()[:12]}" / name
    try:
        return decode(path.read_bytes())
    except (OSError, ValueError, KeyError):  # not there, or damaged: it is only a cache
        if is_long:
            LOGGER.warning("computing %s, once: this can take minutes", name)
        content = compute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError:
        pass  # a read-only home, or none, costs time and nothing else
    return decode(content)


def shipped(name: str, network_sha256: str) -> bytes | None:
    """The committed file `name` of this network, None if there is none; UserError if it is of another, or damaged."""
    manifest = read_asset_json(MANIFEST_PATH, {"network_sha256": str, "files": dict})
    if name not in manifest["files"]:
        return None
    if manifest["network_sha256"] != network_sha256:
        raise UserError(f"{name} is of another feature network: {RECOMPUTE}")
    try:
        content = (ASSETS / name).read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}): restore it from git, or {RECOMPUTE}") from None
    if hashlib.sha256(content).hexdigest() != manifest["files"][name]:
        raise UserError(f"{name} is not the committed file: restore it from git, or {RECOMPUTE}")
    return content


def ship(files: dict[str, bytes], network: FeatureNetwork) -> None:
    """Write the files of the standard protocol beside the network, over the old ones."""
    for name, content in files.items():
        write_atomically(ASSETS / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = {"network_sha256": network.sha256, "files": digests}
    write_atomically(MANIFEST_PATH, json_bytes(manifest))


def _code_hash() -> str:
    """Of this package and what it draws on: what another version of a metric computed is of no use."""
    digest = hashlib.sha256()
    others = [Path(module.__file__ or "") for module in (common.data.datasets, common.data.randomness)]
    for path in [*sorted(Path(__file__).parent.glob("*.py")), *others]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
