"""Pictures as files: where one may go is checked before anything is drawn, and equal pictures are equal bytes."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from common.console import printable
from common.errors import UserError
from common.pictures.compose import animation
from common.records.folder import write_atomically
from common.safe_read import one_line

FRAME_MILLISECONDS = 60
REST_MILLISECONDS = 700  # at both ends of the way


def check_out(path: Path, *suffixes: str) -> None:
    """Raise UserError for an --out that could not be written once there is a picture."""
    name = one_line(path)
    try:
        if path.suffix.lower() not in suffixes:
            raise UserError(f"--out: {name} must end in {' or '.join(suffixes)}")
        if path.is_dir():
            raise UserError(f"--out: {name} is a folder: name a file in it")
        if not path.parent.is_dir():
            raise UserError(f"--out: there is no folder {one_line(path.parent)}: make it first, or name another")
        if not os.access(path.parent, os.W_OK):
            raise UserError(f"--out: {one_line(path.parent)} cannot be written: name a file in another folder")
    except OSError as error:  # of a name too long
        raise UserError(f"--out: {name} cannot be written ({error.strerror}): choose another name") from None


def write_out(path: Path, content: bytes) -> None:
    """Write a whole file and say so on the console; UserError if the disk refuses."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"--out: {one_line(path)} cannot be written ({error.strerror}): choose another place") from None
    print(f"wrote {printable(str(path))}")


def there_and_back(frames: Sequence[np.ndarray]) -> bytes:
    """A GIF of grey uint8 frames (H, W) in turn and in reverse, over and over, with a rest at both ends."""
    images = [Image.fromarray(frame) for frame in (*frames, *frames[-2:0:-1])]
    durations = [FRAME_MILLISECONDS] * len(images)
    durations[0] = durations[len(frames) - 1] = REST_MILLISECONDS
    return animation(images, milliseconds=durations)
