"""Samples to be scored: read from an .npz file, checked, brought to the size of a digit."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from common.config import MAX_IMAGE_SIZE
from common.data.datasets import fit_images, resize_images, restore_images
from common.data.randomness import stream
from common.errors import UserError
from common.records.folder import CONFIG_FILE
from common.safe_read import MAX_JSON_BYTES, one_line, parse_json, read_bounded, read_npz

MIN_SAMPLES = 1_000  # below, a covariance of 128 features is mostly noise
NUM_STANDARD = MAX_SAMPLES = 10_000  # as many as there are test digits
DIGIT_SIZE = 28
MIN_IMAGE_SIZE = 8
NUM_QUICK = 2_000


def read_samples(path: Path) -> np.ndarray:
    """Digits of an .npz file, checked; UserError for any other file."""
    images = read_images(path)
    if (dataset := _dataset_beside(path)) != "mnist":
        raise UserError(
            f"{one_line(path)} is of a run on {one_line(dataset)}: name its data with --dataset and --data-dir"
        )
    check_samples(images)
    return images


def read_images(path: Path) -> np.ndarray:
    """The array `images` of an .npz file, whatever it is of."""
    if not path.is_file():
        raise UserError(f"there is no file {one_line(path)}: pass the samples.npz of a run")
    try:
        return read_npz(path, {"images": np.generic})["images"]
    except ValueError as error:
        raise UserError(f"{one_line(path)} is not a readable .npz file with an array `images` ({error})") from None


def check_samples(images: np.ndarray) -> None:
    """Raises UserError unless the images are uint8 (N, S, S), N from 1,000 to 10,000, and show something."""
    if images.ndim == 4 and 1 in (images.shape[1], images.shape[3]):
        raise UserError(f"images of shape {images.shape} have a channel axis: pass images.squeeze(), (N, S, S)")
    if images.ndim == 4:
        raise UserError(
            f"images of shape {images.shape} have channels: RGB is not scored as digits, name other data with --dataset"
        )
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.shape[1] == 0:
        raise UserError(f"samples must be square grayscale images (N, S, S), got shape {images.shape}")
    if images.dtype != np.uint8:
        raise UserError(f"samples must be uint8, got {images.dtype}: {_conversion(images)}")
    if not MIN_SAMPLES <= len(images) <= MAX_SAMPLES:
        raise UserError(f"got {len(images):,} samples: {MIN_SAMPLES:,} to {MAX_SAMPLES:,} are needed")
    if not MIN_IMAGE_SIZE <= images.shape[1] <= MAX_IMAGE_SIZE:
        raise UserError(f"images of {images.shape[1]} px: {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} px are scored")
    if (images == images[:, :1, :1]).all():
        raise UserError("every image is of one grey level: there is nothing to score; look at the run's sample grids")


def check_draws(draws: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """One draw or several of the same shape, each checked. Raises UserError for unequal ones."""
    shape: tuple[int, ...] | None = None
    seen: set[bytes] = set()
    for images in [draws] if isinstance(draws, np.ndarray) else draws:
        check_samples(images)
        if shape not in (None, images.shape):
            raise UserError(f"the draws differ in shape, {shape} and {images.shape}: pass equally many of one model")
        shape = images.shape
        digest = hashlib.sha256(images.tobytes()).digest()
        if digest in seen:
            raise UserError("two draws are the same: pass each file once")
        seen.add(digest)
        yield images
    if shape is None:
        raise UserError("there are no samples: pass at least one draw")


def some_of(images: np.ndarray, num: int) -> np.ndarray:
    """`num` of the images, or all if there are fewer, in a seeded order: a file may be sorted by class."""
    return images[stream(0, "evaluation/some").permutation(len(images))[:num]] if len(images) > num else images


def digit_images(images: np.ndarray, *, resized: bool = False) -> np.ndarray:
    """Images (N, S, S) at the 28 px of the feature network: cropped if S only adds a border, else resized.

    `resized` says that training digits were enlarged to a size at which this project would have padded them.
    """
    if resized and images.shape[1] != DIGIT_SIZE:
        return resize_images(images, DIGIT_SIZE)
    return restore_images(images, DIGIT_SIZE)


def round_trip(digits: np.ndarray, image_size: int, *, resized: bool = False) -> np.ndarray:
    """Real digits (N, 28, 28) through the size of the samples and back, so that resizing costs no score."""
    if resized and image_size != DIGIT_SIZE:
        return digit_images(resize_images(digits, image_size), resized=True)
    return digit_images(fit_images(digits, image_size))


def _dataset_beside(path: Path) -> str:
    """What the config.json of a run says; a foreign one, or none, says nothing against MNIST."""
    try:
        return str(parse_json(read_bounded(path.parent / CONFIG_FILE, limit=MAX_JSON_BYTES)).get("dataset", "mnist"))
    except (OSError, ValueError):
        return "mnist"


def _conversion(images: np.ndarray) -> str:
    """How numbers of this range become grey levels."""
    if not (np.issubdtype(images.dtype, np.number) and images.size and np.isfinite(images).all()):
        return "only finite grey levels are scored"
    if images.min() < 0:
        return "from [-1, 1] pass clip(round((x + 1) * 127.5), 0, 255)"
    return "from [0, 1] pass round(x * 255)" if images.max() <= 1 else "pass clip(round(x), 0, 255)"
