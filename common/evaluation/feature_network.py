"""The feature network: an MNIST classifier stored as ONNX, run on the CPU by onnxruntime."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np

from common.errors import UserError

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at the import: from 1.32 on, it reports to its makers by default
import onnxruntime

ASSETS = Path(__file__).parent / "assets"
NETWORK_PATH = ASSETS / "mnist_features.onnx"
DESCRIPTION_PATH = ASSETS / "mnist_features.json"
BATCH_SIZE = 256  # fixed: the last bits of a convolution may depend on the batch size


class Features(NamedTuple):
    """What the network says about N images: `features` (N, 128) and `logits` (N, 10), float32."""

    features: np.ndarray
    logits: np.ndarray


class FeatureNetwork:
    """The network, open on the CPU, and the SHA-256 of the bytes it came from."""

    def __init__(self, content: bytes, *, threads: int) -> None:
        self.session = open_session(content, threads=threads)
        self.sha256 = hashlib.sha256(content).hexdigest()

    def extract(self, images: np.ndarray) -> Features:
        """Features of uint8 images (N, 28, 28): the same bytes on every run on the same machine."""
        num_missing = -len(images) % BATCH_SIZE
        padded = np.pad(images, ((0, num_missing), (0, 0), (0, 0)))
        batches = padded.reshape(-1, BATCH_SIZE, *images.shape[1:])
        outputs = [self.session.run(["features", "logits"], {"images": batch}) for batch in batches]
        features, logits = (np.concatenate(parts)[: len(images)] for parts in zip(*outputs, strict=True))
        return Features(features=features, logits=logits)


def open_session(content: bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """On the CPU; what goes wrong comes as an exception, and not on the terminal as well."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Awake, a waiting thread keeps the core that a busy program has left to the thread it waits for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def load_feature_network(network_path: Path = NETWORK_PATH, *, threads: int | None = None) -> FeatureNetwork:
    """Opens the network on `threads` CPU threads (default: every core this process may use).

    Raises UserError if the file is not the one that `mnist_features.json` names by its SHA-256.
    """
    try:
        content = network_path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{network_path} cannot be read ({error.strerror}): reinstall the package, or restore the file from git"
        ) from None
    sha256 = hashlib.sha256(content).hexdigest()
    expected = committed_sha256()
    if sha256 != expected:
        raise UserError(
            f"{network_path.name} is not the committed feature network: its SHA-256 is {sha256[:12]}..., "
            f"expected {expected[:12]}...; reinstall the package, or restore the file from git"
        )
    return FeatureNetwork(content, threads=threads or default_threads())


def committed_sha256() -> str:
    """SHA-256 of the network that belongs to this version of the project."""
    return read_asset_json(DESCRIPTION_PATH, {"sha256": str})["sha256"]


def read_asset_json(path: Path, kinds: dict[str, type]) -> dict[str, Any]:
    """A JSON file shipped beside the network, with fields of these types; UserError for any other."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        fields = None
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), kind) for name, kind in kinds.items()):
        raise UserError(f"{path} is missing or damaged: reinstall the package, or restore the file from git")
    return fields


def default_threads() -> int:
    """The cores this process may use: affinity and container limits are respected."""
    return joblib.cpu_count()
