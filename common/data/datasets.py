"""Datasets as uint8 arrays in memory: the bundled MNIST files, or any prepared TFDS image dataset."""

import gzip
import hashlib
import io
import math
import re
import struct
import zlib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from common.data.tfds import read_tfds
from common.errors import UserError
from common.safe_read import one_line, read_bounded

# SHA-256 of the decompressed bytes: gzip headers may differ between copies of the same file.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# A target at most this much larger than the image is reached by a black border, which keeps every pixel.
MAX_PADDING_RATIO = 1.25
MAX_IDX_BYTES = 2**26  # MNIST's largest file is 47 MB
# NAME, NAME/CONFIG, NAME:VERSION: what TFDS would take for a path, a module or a namespace to fetch is none.
DATASET_NAME = re.compile(r"[a-z0-9_]{1,100}(/[a-z0-9_][a-z0-9_.-]{0,100})?(:\d{1,4}\.\d{1,4}\.\d{1,4})?", re.I | re.A)


@dataclass(frozen=True)
class Dataset:
    """Square images as uint8 (N, S, S), or (N, S, S, 3) in colour, and their integer labels (N,)."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    is_mnist: bool = False  # by its content, whatever it is called; it stays so when images are resized or left out

    @property
    def image_channels(self) -> int:
        """1 for grayscale, 3 for RGB."""
        return 1 if self.train_images.ndim == 3 else self.train_images.shape[3]


def load_dataset(name: str = "mnist", data_dir: Path | None = None, *, train_size: int = 0) -> Dataset:
    """The bundled MNIST when only "mnist" is asked for, else the TFDS dataset NAME prepared under `data_dir`.

    Of a TFDS dataset at most `train_size` training images are decoded (0: all).
    """
    if name == "mnist" and data_dir is None:
        return _load_bundled_mnist()
    if not DATASET_NAME.fullmatch(name):
        raise UserError(f"dataset {one_line(ascii(name))} is no name: TFDS knows no such dataset; see its catalog")
    (train_images, train_labels), (test_images, test_labels) = read_tfds(name, data_dir, train_size=train_size)
    is_mnist = _is_mnist(train_images, test_images, train_size=train_size)
    return Dataset(name, train_images, train_labels, test_images, test_labels, is_mnist)


def _is_mnist(train_images: np.ndarray, test_images: np.ndarray, *, train_size: int) -> bool:
    """Whether these are MNIST's own images, in any order; of the training images `train_size` may have been read."""
    mnist = _load_bundled_mnist()
    num_train = min(train_size or len(mnist.train_images), len(mnist.train_images))
    if train_images.shape != (num_train, *mnist.train_images.shape[1:]) or test_images.shape != mnist.test_images.shape:
        return False
    train, all_train, test, all_test = map(
        _image_hashes, (train_images, mnist.train_images, test_images, mnist.test_images)
    )
    return len(train) == num_train and train <= all_train and test == all_test


def _image_hashes(images: np.ndarray) -> set[bytes]:
    return {hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images}


def fit_images(images: np.ndarray, image_size: int) -> np.ndarray:
    """Bring images to `image_size` px: a black border for a slightly larger size, else PIL's bilinear resize."""
    size = images.shape[1]
    if size == image_size:
        return images
    if size < image_size <= size * MAX_PADDING_RATIO:
        before = (image_size - size) // 2
        border = (before, image_size - size - before)
        return np.pad(images, ((0, 0), border, border, *[(0, 0)] * (images.ndim - 3)))
    return resize_images(images, image_size)


def restore_images(images: np.ndarray, original_size: int) -> np.ndarray:
    """The way back of `fit_images`: crop the border it adds, or resize (antialiased) to `original_size` px."""
    size = images.shape[1]
    if original_size < size <= original_size * MAX_PADDING_RATIO:
        before = (size - original_size) // 2
        return images[:, before : before + original_size, before : before + original_size]
    return images if size == original_size else resize_images(images, original_size)


def resize_images(images: np.ndarray, image_size: int) -> np.ndarray:
    """PIL's bilinear resize of uint8 images, which is antialiased where it makes them smaller."""
    size = (image_size, image_size)
    resized = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images]
    return np.stack(resized)


def prepare_dataset(dataset: Dataset, *, image_size: int, train_size: int) -> Dataset:
    """Resize or pad once, in memory, and keep the first `train_size` training images (0 keeps all)."""
    count = train_size or len(dataset.train_images)
    if count > len(dataset.train_images):
        raise UserError(
            f"train_size is {count}, but {dataset.name} has {len(dataset.train_images)} training images: "
            f"pass a smaller --train-size, or 0 for all"
        )
    return replace(
        dataset,
        train_images=fit_images(dataset.train_images[:count], image_size),
        train_labels=dataset.train_labels[:count],
        test_images=fit_images(dataset.test_images, image_size),
    )


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[-1, 1] to 0..255, rounded to the nearest level: the inverse of the networks' input scaling."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def read_idx(path: Path, *, sha256: str | None = None) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes (format: yann.lecun.com/exdb/mnist), checked against `sha256`."""
    if not path.exists():
        raise UserError(f"{path} is missing: reinstall the package, or restore the file from git")
    compressed = read_bounded(path, limit=MAX_IDX_BYTES)
    try:
        content = _decompress(compressed)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): restore the file from git") from None
    if len(content) > MAX_IDX_BYTES:
        raise UserError(f"{path} expands to more than {MAX_IDX_BYTES:,} bytes: restore the file from git")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path} is damaged (its SHA-256 is not {sha256[:12]}...): restore the file from git")
    zeros, kind, num_dimensions = struct.unpack(">HBB", content[:4].ljust(4, b"\xff"))
    header = 4 + 4 * num_dimensions
    if zeros != 0 or kind != 8 or num_dimensions not in (1, 3) or len(content) < header:
        raise UserError(f"{path} is not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{num_dimensions}I", content[4:header])
    # Python's integers do not wrap around, and an empty array may have no length that NumPy would refuse.
    if len(content) - header != math.prod(shape) or max(shape) > MAX_IDX_BYTES:
        raise UserError(f"{path} promises shape {shape} but holds {len(content) - header} bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _decompress(compressed: bytes) -> bytes:
    """The decompressed bytes, at most one more than allowed: a bomb goes off no further."""
    with gzip.GzipFile(fileobj=io.BytesIO(compressed)) as file:
        return file.read(MAX_IDX_BYTES + 1)


def _load_bundled_mnist() -> Dataset:
    folder = Path(str(resources.files("common.data"))) / "mnist"
    arrays = [read_idx(folder / f"{name}.gz", sha256=sha256) for name, sha256 in MNIST_SHA256.items()]
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        name="mnist",
        train_images=train_images,
        train_labels=train_labels.astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int64),
        is_mnist=True,
    )
