"""Files that a crash damaged, a hand edited or someone sent: read without running code, within bounds, in one line.

Who is defended against, and who is not: docs/decisions/0017. And where what can be made again is kept.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic_core import ValidationError, from_json

from common.console import printable
from common.errors import UserError

MAX_JSON_BYTES = 2**24  # JSON takes up to 20 times its size in memory
MAX_NPZ_BYTES = 2**30  # of one array
MAX_MESSAGE = 240


def cache_dir() -> Path | None:
    """`dcgan-twins` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache); it may be deleted at any time.

    None where there is no such folder: a container's user may have no name and no home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcgan-twins"
    except RuntimeError:
        return None


def one_line(reason: object) -> str:
    """An error or a text as one short printable line: no line break, no terminal escape, no lone surrogate."""
    text = (str(reason) or type(reason).__name__)[: MAX_MESSAGE + 1]
    return printable(text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}...")


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
    """The object that JSON holds; NaN, infinity, lone surrogates and bottomless nesting raise ValueError."""
    value = from_json(content, allow_inf_nan=False)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not an object")
    return value


def explain(error: ValidationError) -> str:
    """The first field that pydantic refuses, in one line: `chunks.0.step is -1: it must be greater than 0`."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{name} is missing"
    if first["type"] == "extra_forbidden":
        return one_line(f"{name} is unknown")
    if first["type"] == "value_error":  # of a rule between several fields, which says all by itself
        return first["msg"].removeprefix("Value error, ")
    wanted = first["msg"].replace("Input should", "it must")
    return one_line(f"{name} is {one_line(ascii(first['input']))[:80]}: {wanted}")


def read_npz(path: Path, dtypes: Mapping[str, type[np.generic]]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file; ValueError unless each is there, of its kind, and no larger than 1 GiB."""
    try:
        with open_bounded(path, limit=MAX_NPZ_BYTES) as file, np.load(file, allow_pickle=False) as archive:
            for info in archive.zip.infolist():
                if info.file_size > MAX_NPZ_BYTES:
                    raise ValueError(f"`{info.filename}` takes {info.file_size:,} bytes, more than {MAX_NPZ_BYTES:,}")
            arrays = {name: archive[name] for name in dtypes}
    except KeyError as error:
        raise ValueError(f"it has no array {one_line(error)}") from None
    except Exception as error:  # a damaged zip archive ends in a dozen kinds of exception
        raise ValueError(one_line(error)) from None
    for name, dtype in dtypes.items():
        if not np.issubdtype(arrays[name].dtype, dtype):
            raise ValueError(f"`{name}` must be {dtype.__name__}, got {arrays[name].dtype} {arrays[name].shape}")
    return arrays
