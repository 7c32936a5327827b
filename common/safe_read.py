"""Files that anyone may have written, read within bounds: never more memory than promised, never a traceback."""

import contextlib
import io
import json
import math
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.errors import UserError

MAX_JSON_BYTES = 2**24  # JSON takes up to 20 times its size in memory
MAX_JSON_DEPTH = 32
MAX_NPZ_BYTES = 2**30  # of one array
MAX_NPZ_MEMBERS = 1_000
MAX_MESSAGE = 240


def one_line(reason: object) -> str:
    """An error or a text as one short printable line: no line break, no terminal escape, no lone surrogate."""
    text = (str(reason) or type(reason).__name__)[: MAX_MESSAGE + 1]
    return printable(text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}...")


def printable(text: str) -> str:
    """The text with line breaks and terminal escapes spelt out."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def read_bounded(path: Path, *, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes."""
    with open_bounded(path, limit=limit) as file, unreadable_is_named(path):
        return file.read(limit)


@contextlib.contextmanager
def open_bounded(path: Path, *, limit: int) -> Iterator[BinaryIO]:
    """A regular file of at most `limit` bytes: not a pipe, which blocks, nor a device without an end."""
    with unreadable_is_named(path):
        mode, size = path.stat().st_mode, path.stat().st_size
        if not stat.S_ISREG(mode):
            raise UserError(f"{one_line(path)} is not a regular file")
        if size > limit:
            raise UserError(f"{one_line(path)} is larger than the {limit:,} bytes such a file may have")
        file = path.open("rb")
    with file:
        yield file


@contextlib.contextmanager
def unreadable_is_named(path: Path) -> Iterator[None]:
    """A name too long, a zero byte in it, a folder nobody may enter: a UserError that names the path."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{one_line(path)} cannot be read ({one_line(reason)})") from None


def parse_json(content: bytes) -> dict[str, Any]:
    """The object that UTF-8 JSON holds; ValueError for all that would fail later, or in another reader.

    That is NaN and infinity, integers beyond 64 bits, lone surrogates, and nesting deeper than 32.
    """
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not an object")
    level: list[Any] = [value]
    for _ in range(MAX_JSON_DEPTH):
        texts = [item for item in level if isinstance(item, str)]
        texts += [name for item in level if isinstance(item, dict) for name in item]
        "".join(texts).encode("utf-8")  # UnicodeEncodeError is a ValueError
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def read_npz(path: Path, dtypes: Mapping[str, type[np.generic]]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file; ValueError unless each is there, of its kind, and no larger than 1 GiB.

    What an array claims is held against the archive before anything is allocated for it.
    """
    if not path.is_file():
        raise ValueError("it is not a regular file")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy about headers of Python 2
            if len(archive.infolist()) > MAX_NPZ_MEMBERS:
                raise ValueError(f"it holds more than {MAX_NPZ_MEMBERS} arrays")
            return {name: _read_array(archive, name, dtype) for name, dtype in dtypes.items()}
    except Exception as error:  # a damaged zip archive ends in a dozen kinds of exception
        raise ValueError(one_line(error)) from None


def _read_array(archive: zipfile.ZipFile, name: str, dtype: type[np.generic]) -> np.ndarray:
    info = next((info for info in archive.infolist() if info.filename in (f"{name}.npy", name)), None)
    if info is None:
        raise ValueError(f"it has no array `{name}`")
    # zipfile bounds what deflate expands to, but not the other methods.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"`{name}` is compressed in a way NumPy does not write")
    if info.file_size > MAX_NPZ_BYTES:
        raise ValueError(f"`{name}` claims {info.file_size:,} bytes, more than {MAX_NPZ_BYTES:,}")
    with archive.open(info) as member:
        shape, is_fortran, found = _read_header(member)
        if found.hasobject:
            raise ValueError(f"`{name}` holds Python objects, which are never loaded")
        num_bytes = math.prod(shape) * found.itemsize
        if num_bytes > info.file_size or max(shape, default=0) > MAX_NPZ_BYTES:
            raise ValueError(f"`{name}` claims shape {shape}, but the file has {info.file_size:,} bytes of it")
        if not np.issubdtype(found, dtype):
            raise ValueError(f"`{name}` must be {dtype.__name__}, got {found} {shape}")
        content = member.read(num_bytes + 1)
    if len(content) != num_bytes:
        raise ValueError(f"`{name}` claims {num_bytes:,} bytes, but holds {len(content):,}")
    return np.frombuffer(content, found).reshape(shape, order="F" if is_fortran else "C")


def _read_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    # Neither reader allocates more than the header's own length, which NumPy limits to 10,000 characters.
    head = member.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(head, "little")
    if version not in ((1, 0), (2, 0)) or length > 10_000:
        raise ValueError(f"its array header is of version {version} and {length:,} bytes")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(io.BytesIO(head + member.read(length)))
    if any(side < 0 for side in shape):
        raise ValueError(f"it claims the shape {shape}")
    return shape, is_fortran, dtype


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large for a number")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"{digits[:20]}... is too large for an integer")
    return int(digits)
