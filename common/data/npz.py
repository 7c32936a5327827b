"""`--dataset npz`: arrays that somebody saved, as Keras, MedMNIST and `np.savez` name them."""

import zipfile
from pathlib import Path

import numpy as np

from common.data.splits import NO_LABEL, Loaded, Split, hold_out
from common.errors import UserError
from common.safe_read import MAX_NPZ_BYTES, one_line, open_bounded, read_npz

TRAIN_IMAGES = ("x_train", "train_images", "train_x", "images", "x", "data", "arr_0")
TEST_IMAGES = ("x_test", "test_images", "test_x", "x_val", "val_images")
TRAIN_LABELS = ("y_train", "train_labels", "train_y", "labels", "y", "label")
TEST_LABELS = ("y_test", "test_labels", "test_y", "y_val", "val_labels")


def read_npz_images(path: Path) -> Loaded:
    """The arrays of an .npz file: images (N, S, S), (N, S, S, 1) or (N, S, S, 3), uint8 or floats within 0 and 1."""
    where = one_line(path)
    if path.is_dir():
        raise UserError(f"--data-dir {where} is a folder: --dataset npz takes an .npz file, --dataset folder pictures")
    names = _names_of(path)
    if _first(TRAIN_IMAGES, names) is None:
        held = one_line(", ".join(sorted(names))) or "nothing"
        raise UserError(
            f"{where} holds {held}: name the array of images {', '.join(TRAIN_IMAGES[:4])} or {TRAIN_IMAGES[-1]}"
        )
    train = _read_split(path, names, TRAIN_IMAGES, TRAIN_LABELS)
    made = f"the array {one_line(_first(TRAIN_IMAGES, names))} of {one_line(path.name)}"
    if _first(TEST_IMAGES, names) is None:
        return hold_out(train, where, f"{made}, {len(train.images):,} images")
    test = _read_split(path, names, TEST_IMAGES, TEST_LABELS)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UserError(f"{where} holds training and test images of different shapes: make them alike")
    return Loaded(train, test, made)


def _names_of(path: Path) -> dict[str, str]:
    """In lower case, to how each is spelled."""
    try:
        with open_bounded(path, limit=4 * MAX_NPZ_BYTES) as file, zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except UserError:
        raise
    except Exception:  # a damaged zip archive ends in a dozen kinds of exception
        raise UserError(f"{one_line(path)} is no .npz file, or damaged: save the images again with np.savez") from None
    return {name.casefold(): name for name in names}


def _first(wanted: tuple[str, ...], names: dict[str, str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _read_split(
    path: Path, names: dict[str, str], images_names: tuple[str, ...], labels_names: tuple[str, ...]
) -> Split:
    images_name, labels_name = _first(images_names, names), _first(labels_names, names)
    assert images_name is not None
    images = _as_uint8(_read_array(path, images_name), f"{one_line(path)}: `{one_line(images_name)}`")
    no_labels = np.full(len(images), NO_LABEL, np.int64)
    if labels_name is None:
        return Split(images, no_labels)
    labels = _read_array(path, labels_name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    # Training reads none: labels of another kind are as good as no labels.
    is_usable = labels.shape == (len(images),) and labels.dtype.kind in "iu"
    return Split(images, labels.astype(np.int64) if is_usable else no_labels)


def _read_array(path: Path, name: str) -> np.ndarray:
    try:
        return read_npz(path, {name: np.generic})[name]
    except UserError:
        raise
    except ValueError as error:
        reason = "objects instead of numbers" if "pickle" in str(error) else one_line(error)
        raise UserError(f"{one_line(path)}: `{one_line(name)}` cannot be read ({reason}): save it as numbers") from None


def _as_uint8(images: np.ndarray, where: str) -> np.ndarray:
    held = f"{where} is {images.dtype} {images.shape}"
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        raise UserError(f"{held}: channels come last, so save images.transpose(0, 2, 3, 1)")
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    is_colour = images.ndim == 4 and images.shape[3] == 3
    if not (images.ndim == 3 or is_colour) or images.shape[1] != images.shape[2] or not images.size:
        raise UserError(f"{held}: only square images (N, S, S), (N, S, S, 1) or (N, S, S, 3) can be trained on")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        index = int(np.isfinite(images).reshape(len(images), -1).all(axis=1).argmin())
        raise UserError(f"{held}, and image {index:,} has a pixel that is no number: mend it, or leave that image out")
    if images.dtype.kind in "fiu" and images.min() >= 0 and images.max() <= (1 if images.dtype.kind == "f" else 255):
        return (
            np.rint(images * np.float32(255)).astype(np.uint8) if images.dtype.kind == "f" else images.astype(np.uint8)
        )
    raise UserError(f"{held}: pass uint8 from 0 to 255, or floats from 0 to 1")
