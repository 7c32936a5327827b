"""Inception features by torch-fidelity, whose weights are known by their SHA-256. Imports torch: import it late."""

import hashlib
import io
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from common.errors import UserError
from common.safe_read import one_line, read_bounded

# Of the file URL_INCEPTION_V3 names; its first eight digits are in that name.
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
MAX_WEIGHTS_BYTES = 2**28  # the file has 95,628,359
BATCH_SIZE = 10  # on a CPU no slower than 1, and a quarter faster than 50
NUM_SUBSETS, SUBSET_SIZE, SUBSET_SEED = 100, 1_000, 2020  # torch-fidelity's own
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class Distances(NamedTuple):
    """Fréchet distance, and the mean and standard deviation of the squared MMD over subsets of `subset_size`."""

    frechet_distance: float
    kernel_distance: float
    kernel_distance_spread: float
    subset_size: int


@dataclass(frozen=True)
class Extractor:
    """The network, and the SHA-256 of the file its weights came from."""

    network: FeatureExtractorInceptionV3
    sha256: str

    @property
    def is_inception(self) -> bool:
        """Whether these are the weights of the 2015 Inception graph, by which all published values were made."""
        return self.sha256 == WEIGHTS_SHA256

    def extract(self, images: np.ndarray, advance: Callable[[int], None]) -> Tensor:
        """Features (N, 2048) of uint8 greys (N, S, S); `advance` is told of every few images done."""
        parts = []
        for start in range(0, len(images), BATCH_SIZE):
            greys = torch.from_numpy(images[start : start + BATCH_SIZE].copy())  # torch warns of read-only arrays
            with torch.no_grad():
                (features,) = self.network(greys[:, None].expand(-1, 3, -1, -1))
            parts.append(features.double())
            advance(len(greys))
        features = torch.cat(parts)
        if not features.isfinite().all():
            raise UserError("these weights turn digits into NaN or infinity: pass --inception-weights another file")
        return features


def load_extractor(path: Path | None, precision: str) -> Extractor:
    """The network with the weights in `path`, or torch-fidelity's download; UserError unless they fit, and are data."""
    found = path or download_weights()
    content = read_bounded(found, limit=MAX_WEIGHTS_BYTES)
    sha256 = hashlib.sha256(content).hexdigest()
    if path is None and sha256 != WEIGHTS_SHA256:
        raise UserError(f"{found} is damaged (its SHA-256 is not {WEIGHTS_SHA256[:12]}...): remove it")
    # torch-fidelity unpickles its file whatever it holds: it gets one that holds these tensors and nothing else.
    file = io.BytesIO()
    torch.save(_read_tensors(content, found), file)
    file.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=file)
    except RuntimeError as error:
        reason = " ".join(str(error).splitlines()[1:2]).strip()
        raise UserError(f"{found} does not hold the weights of this Inception network ({one_line(reason)})") from None
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise UserError(f"{found} holds NaN or infinity")
    # torch-fidelity 0.4.0 takes "float64" for float32 (`text_to_dtype` in its helpers).
    network.to(PRECISIONS[precision])
    network.feature_extractor_internal_dtype = PRECISIONS[precision]
    return Extractor(network, sha256)


def download_weights() -> Path:
    """Where torch.hub keeps torch-fidelity's weights, fetched if they are not there yet."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rpartition("/")[2]
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            progress = sys.stderr.isatty()
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=WEIGHTS_SHA256, progress=progress)
        except (OSError, RuntimeError, HTTPException) as error:  # RuntimeError: another SHA-256
            raise UserError(
                f"the Inception weights cannot be downloaded ({one_line(error)}): "
                f"pass --inception-weights FILE, a copy of {URL_INCEPTION_V3}"
            ) from None
    return path


def compute_distances(generated: Tensor, real: Tensor) -> Distances:
    """Of float64 features, equally many on both sides and at least four; smaller sets take smaller subsets."""
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    subset_size = min(SUBSET_SIZE, len(real) // 2)
    kernel = kid_features_to_metric(
        generated,
        real,
        kid_subsets=NUM_SUBSETS,
        kid_subset_size=subset_size,
        rng_seed=SUBSET_SEED,
        verbose=False,
    )
    return Distances(
        fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID],
        kernel[KEY_METRIC_KID_MEAN],
        kernel[KEY_METRIC_KID_STD],
        subset_size,
    )


def _read_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # PyTorch's own words for it advise to load the file with weights_only=False, which runs what is in it.
        raise UserError(
            f"{path} is refused: it is no file of torch.save, or it holds objects other than tensors"
        ) from None
    except Exception as error:  # a foreign file can make the reader fail in any way
        raise UserError(f"{path} cannot be read as a file of torch.save ({one_line(error)})") from None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and _is_plain(tensor) for name, tensor in state.items()
    ):
        raise UserError(f"{path} is no state dict: it must name tensors of float32, and counters of int64")
    return dict(state)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.dtype in (torch.float32, torch.int64)
