"""PNG, JPEG and WebP to squares of pixels, as torchvision's ImageFolder with Resize and CenterCrop makes them."""

import io
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image

from common.safe_read import one_line

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 100_000_000  # a file of a few kilobytes can claim as many as it likes
MAX_ASPECT_RATIO = 100  # resized, a line would be as large as a bomb
NUM_AT_ONCE = 32  # images of one thread's task, which may be tiny
Source = TypeVar("Source")


class UndecodableError(ValueError):
    """The bytes are no image that can be trained on; the message says why."""


def decode_all(
    sources: Sequence[Source], read: Callable[[Source], bytes], image_size: int | None
) -> Iterator[np.ndarray | UndecodableError]:
    """In order: uint8 (H, W) or (H, W, 3), cropped to a square of `image_size` if that is given; or why it cannot be.

    Several are decoded at once: Pillow lets other threads work.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, on palettes and on sizes that are checked here
        parts = [sources[start : start + NUM_AT_ONCE] for start in range(0, len(sources), NUM_AT_ONCE)]
        for decoded in pool.map(lambda part: [_decode_one(read, image_size, source) for source in part], parts):
            yield from decoded


def _decode_one(
    read: Callable[[Source], bytes], image_size: int | None, source: Source
) -> np.ndarray | UndecodableError:
    try:
        image = decode(read(source))
        return np.asarray(image if image_size is None else resize_and_crop(image, image_size))
    except Exception as error:  # a damaged file ends in a dozen kinds of exception
        return UndecodableError(one_line(error))


def decode(content: bytes) -> Image.Image:
    """The image as L or RGB: alpha is dropped and EXIF's orientation ignored, as torchvision's loader does it.

    Of 16 bits the upper 8 are kept. The checksums of a PNG are checked.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UndecodableError(f"{width}x{height} pixels are more than {MAX_PIXELS:,}")
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise UndecodableError(f"{width}x{height} pixels are a line, not a picture")
        if image.format == "PNG":
            _check_sums(content)  # Pillow passes over those of the pixels
        if image.mode.startswith("I"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def _check_sums(png: bytes) -> None:
    """Raise UndecodableError for a chunk whose CRC-32 is not its own."""
    at = 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        if zlib.crc32(png[at + 4 : end]) != int.from_bytes(png[end : end + 4]):
            raise UndecodableError("a checksum is wrong")
        if png[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4
    raise UndecodableError("it is cut short")


def resize_and_crop(image: Image.Image, image_size: int) -> Image.Image:
    """Torchvision's Resize (bilinear, antialiased, the shorter side) and CenterCrop, to the byte."""
    width, height = image.size
    longer = int(image_size * max(width, height) / min(width, height))
    width, height = (image_size, longer) if width <= height else (longer, image_size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - image_size) / 2.0), round((height - image_size) / 2.0)
    return image.crop((left, top, left + image_size, top + image_size))


def is_grey(image: np.ndarray) -> bool:
    """Whether it has one channel, or three that are equal."""
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def stack(images: Iterable[np.ndarray], *, grey: bool) -> np.ndarray:
    """Images of one size, all grey or all RGB."""
    if grey:
        return np.stack([image if image.ndim == 2 else image[..., 0] for image in images])
    return np.stack([image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images])
