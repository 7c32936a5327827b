"""The bundled MNIST is the real one, TFDS yields the same, and resizing is what torchvision does."""

import gzip
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from common.data.datasets import (
    Dataset,
    fit_images,
    load_dataset,
    prepare_dataset,
    restore_images,
)
from common.data.idx import read_idx
from common.errors import UserError

BUNDLED = Path(__file__).parents[2] / "common" / "data" / "mnist"
PREPARED = Path(__file__).parents[2] / "shared" / "data" / "tfds"
needs_prepared_tfds = pytest.mark.skipif(
    not PREPARED.is_dir(), reason="MNIST as TFDS prepares it is not beside this checkout"
)


def sorted_by_content(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images and labels in one array (N, 785), its rows in a fixed order."""
    rows = np.column_stack([images.reshape(len(images), -1), labels.astype(np.uint8)])
    return rows[np.argsort(np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").ravel(), kind="stable")]


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset()


def test_bundled_mnist_has_all_images_and_labels(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_images.dtype == np.uint8
    assert np.bincount(mnist.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_prepared_tfds
def test_tfds_yields_exactly_the_bundled_images_and_labels_without_tensorflow(mnist):
    prepared = load_dataset("mnist", PREPARED)
    for split in ("train", "test"):
        images, labels = (f"{split}_images", f"{split}_labels")
        np.testing.assert_array_equal(
            sorted_by_content(getattr(prepared, images), getattr(prepared, labels)),
            sorted_by_content(getattr(mnist, images), getattr(mnist, labels)),
        )
    assert "tensorflow" not in sys.modules


@needs_prepared_tfds
def test_a_damaged_tfds_file_is_refused_naming_the_dataset(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    shutil.copytree(PREPARED / "mnist" / "3.0.1", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    record = next(folder.glob("mnist-train*"))
    record.write_bytes(record.read_bytes()[:1000])
    with pytest.raises(UserError, match="mnist"):
        load_dataset("mnist", tmp_path)


def test_a_dataset_that_tfds_does_not_know_is_refused():
    with pytest.raises(UserError, match="TFDS knows no such dataset"):
        load_dataset("no_such_dataset")


def test_a_missing_data_dir_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        load_dataset("mnist", tmp_path / "absent")


def test_an_unprepared_dataset_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="tfds build mnist"):
        load_dataset("mnist", tmp_path)


def test_28_px_digits_get_a_black_border_at_32_px_and_come_back_unchanged(digits):
    padded = fit_images(digits, 32)
    assert padded.shape == (len(digits), 32, 32)
    np.testing.assert_array_equal(padded[:, 2:30, 2:30], digits)
    assert padded.sum() == digits.sum()
    np.testing.assert_array_equal(restore_images(padded, 28), digits)


def test_colour_images_are_padded_and_resized_with_their_channels_last():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    assert fit_images(images, 32).shape == (3, 32, 32, 3)
    assert fit_images(images, 64).shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(restore_images(fit_images(images, 32), 28), images)


def test_train_size_keeps_the_first_images_and_zero_keeps_all(mnist):
    few = prepare_dataset(mnist, image_size=28, train_size=100)
    np.testing.assert_array_equal(few.train_images, mnist.train_images[:100])
    assert len(few.train_labels) == 100
    assert len(prepare_dataset(mnist, image_size=28, train_size=0).train_images) == 60_000
    with pytest.raises(UserError, match="--train-size is 60001"):
        prepare_dataset(mnist, image_size=28, train_size=60_001)


def idx_file(path: Path, *, shape: tuple[int, ...], content: bytes, magic: int = 0x0800) -> Path:
    header = struct.pack(f">I{len(shape)}I", magic + len(shape), *shape)
    path.write_bytes(gzip.compress(header + content))
    return path


def test_an_idx_file_is_read_back(tmp_path):
    path = idx_file(tmp_path / "a.gz", shape=(2, 2, 2), content=bytes(range(8)))
    np.testing.assert_array_equal(read_idx(path), np.arange(8).reshape(2, 2, 2))


def test_a_wrong_checksum_a_wrong_length_and_a_foreign_file_are_refused(tmp_path):
    good = idx_file(tmp_path / "good.gz", shape=(2,), content=b"ab")
    with pytest.raises(UserError, match="is damaged"):
        read_idx(good, sha256="0" * 64)
    with pytest.raises(UserError, match="promises shape"):
        read_idx(idx_file(tmp_path / "long.gz", shape=(3,), content=b"ab"))
    with pytest.raises(UserError, match="promises shape"):
        read_idx(idx_file(tmp_path / "huge.gz", shape=(2**31, 2**31, 2**31), content=b"ab"))
    with pytest.raises(UserError, match="is not an IDX file"):
        read_idx(idx_file(tmp_path / "floats.gz", shape=(2,), content=b"ab", magic=0x0D00))
    with pytest.raises(UserError, match="is not an IDX file"):
        read_idx(idx_file(tmp_path / "empty.gz", shape=(), content=b"", magic=0x0800))
    with pytest.raises(UserError, match="is missing"):
        read_idx(tmp_path / "absent.gz")


@pytest.mark.parametrize("kept", [0, 1, 9, 12, 20])
def test_a_truncated_gzip_file_is_refused(tmp_path, kept):
    path = idx_file(tmp_path / "cut.gz", shape=(2,), content=b"ab")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"cut\.gz"):
        read_idx(path)
