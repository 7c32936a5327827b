"""IDX, the format of MNIST and its relatives: the bundled files, and `--dataset idx`."""

import gzip
import hashlib
import io
import math
import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data.splits import NO_LABEL, Loaded, Split, hold_out
from common.errors import UserError
from common.safe_read import one_line, read_bounded, unreadable_is_named

MAX_IDX_BYTES = 2**26  # MNIST's largest file is 47 MB
MAX_OWN_BYTES = 2**30  # EMNIST's is 547 MB
IDX_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<split>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?", re.I
)
FROM_GIT = "restore the file from git"
AGAIN = "download it again"
MAX_DEPTH = 3


class Part(NamedTuple):
    """One file of a set: `split` is train or test, `kind` images or labels."""

    split: str
    kind: str


def read_idx(
    path: Path, *, sha256: str | None = None, limit: int = MAX_IDX_BYTES, advice: str = FROM_GIT
) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped or not (yann.lecun.com/exdb/mnist), checked against `sha256`."""
    name = one_line(path)
    if not path.exists():
        raise UserError(f"{name} is missing: reinstall the package, or {FROM_GIT}")
    content = read_bounded(path, limit=limit)
    try:
        if path.suffix == ".gz" or content[:2] == b"\x1f\x8b":
            content = _decompress(content, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name} cannot be read ({one_line(error)}): {advice}") from None
    if len(content) > limit:
        raise UserError(f"{name} expands to more than {limit:,} bytes: {advice}")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{name} is damaged (its SHA-256 is not {sha256[:12]}...): {advice}")
    zeros, kind, num_dimensions = struct.unpack(">HBB", content[:4].ljust(4, b"\xff"))
    header = 4 + 4 * num_dimensions
    if zeros != 0 or kind != 8 or num_dimensions not in (1, 3) or len(content) < header:
        raise UserError(f"{name} is not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{num_dimensions}I", content[4:header])
    # Python's integers do not wrap around, and an empty array may have no length that NumPy would refuse.
    if len(content) - header != math.prod(shape) or max(shape) > limit:
        raise UserError(f"{name} promises shape {shape} but holds {len(content) - header} bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_idx_folder(place: Path) -> Loaded:
    """The one set of IDX files in a folder; of several, `place` ends in a set's prefix: DIR/emnist-letters."""
    folder, prefix = (place, None) if place.is_dir() else (place.parent, place.name.rstrip("-"))
    with unreadable_is_named(folder):
        if not folder.is_dir():
            raise UserError(f"--data-dir {one_line(place)} is not a folder: name the one that holds the IDX files")
        sets = _find_sets(folder)
    if prefix is not None:
        sets = {key: parts for key, parts in sets.items() if key[1].rstrip("-") == prefix}
    sets = {key: parts for key, parts in sets.items() if Part("train", "images") in parts}
    if not sets:
        raise UserError(
            f"--data-dir {one_line(place)} holds no train-images-idx3-ubyte, gzipped or not: name the folder that does"
        )
    if len(sets) > 1:
        choices = [one_line(at / name.rstrip("-")) for at, name in sorted(sets)]
        raise UserError(f"{one_line(place)} holds several sets: choose one, --data-dir {' or '.join(choices[:6])}")
    ((_, name), parts) = sets.popitem()
    is_emnist = name.casefold().startswith("emnist")
    train = _read_split(parts, "train", is_transposed=is_emnist)
    made = f"IDX files {one_line(name)}*" if name else f"IDX files of {one_line(folder.name)}"
    made += ", turned upright, since EMNIST stores them transposed" if is_emnist else ""
    if Part("test", "images") not in parts:
        return hold_out(train, one_line(folder), made)
    return Loaded(train, _read_split(parts, "test", is_transposed=is_emnist), made)


def _find_sets(folder: Path) -> dict[tuple[Path, str], dict[Part, Path]]:
    """By folder and prefix; a file that is there both raw and gzipped is taken raw."""
    sets: dict[tuple[Path, str], dict[Part, Path]] = {}
    folders = [folder]
    for _ in range(MAX_DEPTH):
        for path in sorted(entry for place in folders for entry in place.iterdir() if entry.is_file()):
            if found := IDX_NAME.fullmatch(path.name):
                part = Part("train" if found["split"].lower() == "train" else "test", found["kind"].lower())
                sets.setdefault((path.parent, found["prefix"]), {}).setdefault(part, path)
        folders = [entry for place in folders for entry in place.iterdir() if entry.is_dir() and entry.name[0] != "."]
    return sets


def _read_split(parts: dict[Part, Path], split: str, *, is_transposed: bool) -> Split:
    path = parts[Part(split, "images")]
    images = read_idx(path, limit=MAX_OWN_BYTES, advice=AGAIN)
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.size:
        raise UserError(f"{one_line(path)} holds {images.shape}: only square images (N, S, S) can be trained on")
    if is_transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    labels_path = parts.get(Part(split, "labels"))
    if labels_path is None:
        return Split(images, np.full(len(images), NO_LABEL, np.int64))
    labels = read_idx(labels_path, limit=MAX_OWN_BYTES, advice=AGAIN)
    if labels.shape != (len(images),):
        raise UserError(
            f"{one_line(labels_path)} holds labels {labels.shape}, but there are {len(images)} images: {AGAIN}"
        )
    return Split(images, labels.astype(np.int64))


def _decompress(compressed: bytes, limit: int) -> bytes:
    """The decompressed bytes, at most one more than allowed: a bomb goes off no further."""
    with gzip.GzipFile(fileobj=io.BytesIO(compressed)) as file:
        return file.read(limit + 1)
