"""Flax Linen's files, known by their names, and why they are not taken.

Linen names a layer by its kind and number, as in `params/ConvTranspose_0/kernel`. The axes of a transposed
convolution's kernel, and whether it is flipped, depend on how the layer was called, which no file says: a kernel that
fits by its shape could still be another one.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from common.contract import WeightsError

LAYER = re.compile(r"(Conv|ConvTranspose|Dense|BatchNorm)_\d+")
COLLECTIONS = ("params", "batch_stats")
WHAT_TO_DO = (
    "set the same arrays in Flax NNX modules (kernels with transpose_kernel=True), save nnx.state with Orbax, and "
    "convert that"
)
NUM_HEAD_BYTES = 64


def refuse_linen(names: Iterable[tuple[str, ...]]) -> None:
    """Raise WeightsError if one of the names, split at dots and slashes, is a layer of Linen's."""
    for name in names:
        words = [word for part in name for word in re.split("[./]", part)]
        if any(map(LAYER.fullmatch, words)) and (words[-1] in ("kernel", "scale") or {*COLLECTIONS} & {*words}):
            raise WeightsError(f"it holds a model of Flax Linen ({'/'.join(words)}), which is not taken: {WHAT_TO_DO}")


def is_msgpack(path: Path) -> bool:
    """Whether the file begins as `flax.serialization.to_bytes` writes variables: a small map, and its first name."""
    with path.open("rb") as file:
        head = file.read(NUM_HEAD_BYTES)
    return head[:1] > b"\x80" and head[:1] < b"\x90" and any(name.encode() in head for name in COLLECTIONS)
