"""Datasets as uint8 arrays in memory: the bundled MNIST, a person's own images, or a TFDS image dataset."""

import functools
import hashlib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from common.data.idx import read_idx, read_idx_folder
from common.data.image_folder import read_image_folder
from common.data.names import DATASET_NAME, FORMATS, canonical_name, did_you_mean
from common.data.npz import read_npz_images
from common.data.splits import Loaded
from common.data.tfds import read_tfds
from common.errors import UserError
from common.safe_read import one_line

# SHA-256 of the decompressed bytes: gzip headers may differ between copies of the same file.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# A target at most this much larger than the image is reached by a black border, which keeps every pixel.
MAX_PADDING_RATIO = 1.25


@dataclass(frozen=True)
class Dataset:
    """Square images as uint8 (N, S, S), or (N, S, S, 3) in colour, and their integer labels (N,)."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    is_mnist: bool = False  # by its content, whatever it is called; it stays so when images are resized or left out
    made: str = ""  # of what, and how, where that is not known of the name

    @property
    def sha256(self) -> str:
        """Of the training images as they are: after `prepare_dataset`, as they are trained on."""
        return hash_of_images(self.train_images)

    @property
    def image_channels(self) -> int:
        """1 for grayscale, 3 for RGB."""
        return 1 if self.train_images.ndim == 3 else self.train_images.shape[3]


def hash_of_images(images: np.ndarray) -> str:
    """SHA-256 over their shape and their bytes, in this order."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def load_dataset(
    name: str = "mnist", data_dir: Path | None = None, *, train_size: int = 0, image_size: int = 32
) -> Dataset:
    """The bundled MNIST when only "mnist" is asked for, else a person's own images, or a TFDS dataset.

    Of a TFDS dataset at most `train_size` training images are decoded (0: all). `image_size` is for images that are
    not squares of one size.
    """
    name = canonical_name(name)
    if name == "mnist" and data_dir is None:
        return _load_bundled_mnist()
    loaded = _read(name, data_dir, train_size=train_size, image_size=image_size)
    (train_images, train_labels), (test_images, test_labels) = loaded.train, loaded.test
    is_mnist = _is_mnist(train_images, test_images, train_size=train_size)
    return Dataset(name, train_images, train_labels, test_images, test_labels, is_mnist, loaded.made)


def _read(name: str, data_dir: Path | None, *, train_size: int, image_size: int) -> Loaded:
    if name in FORMATS and data_dir is None:
        takes = {"folder": "the folder of your images", "npz": "an .npz file", "idx": "the folder of the IDX files"}[
            name
        ]
        raise UserError(f"--dataset {name} needs --data-dir: name {takes}")
    if data_dir is not None and name == "folder":
        return read_image_folder(data_dir, image_size=image_size)
    if data_dir is not None and name == "npz":
        return read_npz_images(data_dir)
    if data_dir is not None and name == "idx":
        return read_idx_folder(data_dir)
    if not DATASET_NAME.fullmatch(name):
        raise UserError(
            f"dataset {one_line(ascii(name))} is no name: TFDS knows no such dataset{did_you_mean(name, ())}; "
            "see its catalog"
        )
    return read_tfds(name, data_dir, train_size=train_size, image_size=image_size)


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
            f"--train-size is {count}, given or by the preset, but there are only {len(dataset.train_images)} training "
            "images: pass a smaller one, or 0 for all"
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


@functools.cache  # a run reads it to train, to score, and to see whether other data are MNIST
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
