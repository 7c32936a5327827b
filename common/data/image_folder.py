"""`--dataset folder`: a person's own pictures, in any sub-folders."""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from common.data.decoding import UndecodableError, decode_all, is_grey, stack
from common.data.randomness import stream
from common.data.splits import NO_LABEL, Loaded, Split, hold_out
from common.errors import UserError
from common.safe_read import cache_dir, one_line, open_bounded, read_bounded, unreadable_is_named
from common.stages import in_stage

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")
MAX_FILE_BYTES = 2**28
MAX_CACHE_BYTES = 2**36
MAX_UNREADABLE = 10  # one in so many
NUM_NAMED = 3


@dataclass(frozen=True)
class Decoded:
    """All images of a folder that can be read, and for each file that cannot, a sentence."""

    images: np.ndarray
    readable: np.ndarray  # bool, of each file
    unreadable: list[str]


def read_image_folder(root: Path, *, image_size: int) -> Loaded:
    """Every image below `root`, resized and cropped; `train` and `test` are taken as what they are called."""
    with unreadable_is_named(root):
        if not root.is_dir():
            raise UserError(
                f"--data-dir {one_line(root)} is not a folder of images: name the one that holds them, "
                "or where it was moved to"
            )
        root = _within_wrappers(root)
        train_root, test_root = _split_folder(root, TRAIN_NAMES), _split_folder(root, TEST_NAMES)
        if train_root is None:
            test_root = None
        train_files = _find_images(train_root or root)
        test_files = _find_images(test_root) if test_root else []
    if not train_files:
        raise UserError(f"--data-dir {one_line(train_root or root)} holds no PNG, JPEG or WebP file: name another")
    files = train_files + test_files
    decoded = _cached(root, files, image_size)
    _refuse_too_many(decoded, len(files), root)
    labels = _labels(train_files, train_root or root) + (_labels(test_files, test_root) if test_root else [])
    both = np.array(labels, np.int64)[decoded.readable]
    num_train = int(decoded.readable[: len(train_files)].sum())
    if not num_train:
        raise UserError(f"{one_line(train_root or root)}: no file can be read ({decoded.unreadable[0]})")
    # In a fixed order without a pattern, so that the first images are not all of one class.
    order = stream(0, "image_folder").permutation(num_train)
    train = Split(decoded.images[:num_train][order], both[:num_train][order])
    made = _describe(files, decoded, image_size)
    if num_train == len(decoded.images):
        return hold_out(train, one_line(root), made)
    test = Split(decoded.images[num_train:], both[num_train:])
    return Loaded(train, test, f"{made}; {len(test.images):,} of them in {test_root.name if test_root else ''}/")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _within_wrappers(root: Path) -> Path:
    """An archive's own folder around train/ and test/ is passed through."""
    inside = root
    for _ in range(3):
        entries = [entry for entry in inside.iterdir() if not _is_hidden(entry.name)]
        if _split_folder(inside, TRAIN_NAMES):
            return inside
        if len(entries) != 1 or not entries[0].is_dir():
            break
        inside = entries[0]
    return root


def _split_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    folders = {entry.name.casefold(): entry for entry in sorted(root.iterdir()) if entry.is_dir()}
    return next((folders[name] for name in names if name in folders), None)


def _find_images(root: Path) -> list[Path]:
    """In the order of their names; links are followed, each folder once."""
    found, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not _is_hidden(name))
        found += [
            Path(folder, name) for name in names if not _is_hidden(name) and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(found)


def _labels(files: list[Path], root: Path) -> list[int]:
    """The number of the folder below `root` that a file is in, in the order of their names; -1 outside of any."""
    parts = [path.relative_to(root).parts for path in files]
    classes = sorted({part[0] for part in parts if len(part) > 1})
    numbers = {name: number for number, name in enumerate(classes)}
    return [numbers[part[0]] if len(part) > 1 else NO_LABEL for part in parts]


def _cached(root: Path, files: list[Path], image_size: int) -> Decoded:
    folder = cache_dir()
    path = folder / "images" / f"{_key(root, files, image_size)}.npz" if folder else None
    if path is not None:
        with contextlib.suppress(Exception):  # not there, or damaged: it is only a cache
            return _load(path)
    decoded = _decode(root, files, image_size)
    if path is not None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    unreadable = np.array(json.dumps(decoded.unreadable))
                    np.savez(file, images=decoded.images, readable=decoded.readable, unreadable=unreadable)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    return decoded


def _load(path: Path) -> Decoded:
    with open_bounded(path, limit=MAX_CACHE_BYTES) as file, np.load(file, allow_pickle=False) as archive:
        return Decoded(archive["images"], archive["readable"], json.loads(str(archive["unreadable"])))


def _key(root: Path, files: list[Path], image_size: int) -> str:
    digest = hashlib.sha256(f"{PIL.__version__}/{image_size}/".encode() + os.fsencode(root.absolute()))
    for path in files:
        with contextlib.suppress(OSError):  # a link to nothing is found out when it is read
            status = path.stat()
            digest.update(os.fsencode(path.relative_to(root)) + f"\0{status.st_size}/{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _decode(root: Path, files: list[Path], image_size: int) -> Decoded:
    def read(path: Path) -> bytes:
        return read_bounded(path, limit=MAX_FILE_BYTES)

    images, readable, unreadable = [], [], []
    decoded = in_stage(decode_all(files, read, image_size), f"reading {len(files):,} images", len(files))
    for path, image in zip(files, decoded, strict=True):
        readable.append(not isinstance(image, UndecodableError))
        if isinstance(image, UndecodableError):
            unreadable.append(one_line(path.relative_to(root)))
        else:
            images.append(image)
    if not images:
        raise UserError(f"{one_line(root)}: none of {len(files):,} image files can be read, {unreadable[0]} the first")
    return Decoded(stack(images, grey=all(map(is_grey, images))), np.array(readable), unreadable)


def _refuse_too_many(decoded: Decoded, num_files: int, root: Path) -> None:
    if len(decoded.unreadable) * MAX_UNREADABLE > num_files:
        raise UserError(
            f"{one_line(root)}: {_unreadable(decoded)} of {num_files:,} cannot be read: mend or remove them"
        )


def _unreadable(decoded: Decoded) -> str:
    noun = "file" if len(decoded.unreadable) == 1 else "files"
    more = ", ..." if len(decoded.unreadable) > NUM_NAMED else ""
    return f"{len(decoded.unreadable):,} {noun} ({', '.join(decoded.unreadable[:NUM_NAMED])}{more})"


def _describe(files: list[Path], decoded: Decoded, image_size: int) -> str:
    kinds = sorted({SUFFIXES[path.suffix.lower()] for path in files})
    colour = "grey" if decoded.images.ndim == 3 else "RGB"
    skipped = f"; {_unreadable(decoded)} cannot be read and are left out" if decoded.unreadable else ""
    return (
        f"{len(decoded.images):,} {' and '.join(kinds)} files, resized and centre-cropped to {image_size} px, "
        f"{colour}{skipped}"
    )
