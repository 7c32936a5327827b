"""A person's own images: a folder of pictures, arrays in an .npz file, IDX files."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import common.data.image_folder
from common.data.datasets import Dataset, load_dataset, prepare_dataset
from common.data.names import canonical_name, did_you_mean
from common.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def pictures(folder: Path, number: int = 20, *, shape: tuple[int, ...] = (9, 12, 3), suffix: str = ".png") -> Path:
    for index in range(number):
        save(folder / f"{index:02d}{suffix}", noise(*shape, seed=index))
    return folder


def folder_of(path: Path, image_size: int = 8) -> Dataset:
    return load_dataset("folder", path, image_size=image_size)


def refusal(name: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_dataset(name, path, image_size=8)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Folders


def test_pictures_of_every_kind_in_sub_folders_are_found_and_their_folders_are_classes(tmp_path: Path):
    for kind, suffix in (("cats", ".PNG"), ("dogs/small", ".jpeg"), ("owls", ".webp")):
        pictures(tmp_path / kind, 10, suffix=suffix)
    pictures(tmp_path / "__MACOSX" / "cats", 3)
    pictures(tmp_path / ".thumbnails", 3)
    (tmp_path / "owls" / "._hidden.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = folder_of(tmp_path)
    assert dataset.train_images.shape == (27, 8, 8, 3)
    assert dataset.test_images.shape == (3, 8, 8, 3)
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    assert np.bincount(labels).tolist() == [10, 10, 10]
    assert dataset.made == (
        "30 JPEG and PNG and WebP files, resized and centre-cropped to 8 px, RGB; 3 of them held out for testing"
    )


@pytest.mark.parametrize("test_name", ["test", "val", "Validation"])
def test_train_and_test_folders_are_what_they_are_called_also_within_an_archive_s_folder(tmp_path: Path, test_name):
    for split, number in (("train", 6), (test_name, 4)):
        pictures(tmp_path / "archive" / split / "a", number)
        pictures(tmp_path / "archive" / split / "b", number)
    dataset = folder_of(tmp_path)
    assert (len(dataset.train_images), len(dataset.test_images)) == (12, 8)
    assert np.bincount(dataset.test_labels).tolist() == [4, 4]
    assert "held out" not in dataset.made


def test_pictures_without_folders_have_no_labels_and_the_same_tenth_is_held_out_each_time(tmp_path: Path):
    first, second = (folder_of(pictures(tmp_path)) for _ in range(2))
    assert len(first.test_images) == 2
    assert {*first.train_labels.tolist(), *first.test_labels.tolist()} == {-1}
    np.testing.assert_array_equal(first.test_images, second.test_images)


def test_pictures_are_grey_only_if_all_of_them_are(tmp_path: Path):
    pictures(tmp_path, 4, shape=(9, 9))
    save(tmp_path / "grey as colour.png", np.repeat(noise(9, 9, 1), 3, axis=2))
    assert folder_of(tmp_path).image_channels == 1
    save(tmp_path / "colour.png", noise(9, 9, 3))
    dataset = folder_of(tmp_path)
    assert dataset.image_channels == 3
    assert "RGB" in dataset.made


def test_palettes_alpha_16_bits_and_cmyk_are_read(tmp_path: Path):
    colour, grey = Image.fromarray(noise(8, 8, 3)), noise(8, 8)
    colour.convert("P").save(tmp_path / "palette.png", transparency=b"\0\1")
    colour.convert("RGBA").save(tmp_path / "alpha.png")
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey).convert("1").save(tmp_path / "bits.png")
    images = common.data.image_folder.read_image_folder(tmp_path, image_size=8)
    assert "5 JPEG and PNG files" in images.made
    (tmp_path / "only").mkdir()
    for name in "ab":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "only" / f"{name}.png")
    np.testing.assert_array_equal(folder_of(tmp_path / "only").train_images, [grey])


def test_files_that_cannot_be_read_are_named_and_left_out_unless_they_are_many(tmp_path: Path):
    pictures(tmp_path, 40)
    (tmp_path / "00.png").write_bytes(b"not a picture")
    damaged = bytearray((tmp_path / "01.png").read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "01.png").write_bytes(damaged)
    (tmp_path / "02.png").unlink()
    (tmp_path / "02.png").symlink_to(tmp_path / "nowhere")
    dataset = folder_of(tmp_path)
    assert "3 files (00.png, 01.png, 02.png) cannot be read and are left out" in dataset.made
    assert len(dataset.train_images) + len(dataset.test_images) == 37
    for index in range(3, 6):
        (tmp_path / f"{index:02d}.png").write_bytes(b"")
    assert "6 files (00.png, 01.png, 02.png, ...) of 40 cannot be read" in refusal("folder", tmp_path)


def test_a_bomb_and_a_line_are_left_out_unopened(tmp_path: Path):
    pictures(tmp_path, 30)
    Image.new("1", (12_000, 9_000)).save(tmp_path / "bomb.png")
    Image.new("1", (60_000, 1)).save(tmp_path / "line.png")
    assert "2 files (bomb.png, line.png)" in folder_of(tmp_path).made


def test_a_loop_of_links_is_walked_once(tmp_path: Path):
    pictures(tmp_path / "a", 4)
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    dataset = folder_of(tmp_path)
    assert len(dataset.train_images) + len(dataset.test_images) == 4


def test_decoded_pictures_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = folder_of(pictures(tmp_path))
    decoded: list[int] = []
    real = common.data.image_folder.decode_all
    monkeypatch.setattr(common.data.image_folder, "decode_all", lambda *args: decoded.append(1) or real(*args))
    np.testing.assert_array_equal(folder_of(tmp_path).train_images, first.train_images)
    assert not decoded
    os.utime(tmp_path / "03.png", ns=(1, 1))
    folder_of(tmp_path)
    folder_of(tmp_path, image_size=10)
    assert len(decoded) == 2


def test_a_damaged_cache_is_made_again(tmp_path: Path, cache: Path):
    first = folder_of(pictures(tmp_path))
    (kept,) = cache.rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(folder_of(tmp_path).train_images, first.train_images)


def test_folders_without_pictures_are_refused_in_one_line(tmp_path: Path):
    assert "holds no PNG, JPEG or WebP" in refusal("folder", tmp_path)
    assert "is not a folder" in refusal("folder", tmp_path / "absent")
    assert "needs --data-dir" in refusal("folder", None)  # pyright: ignore[reportArgumentType]
    (tmp_path / "one.png").write_bytes(b"")
    assert "one.png the first" in refusal("folder", tmp_path)
    save(tmp_path / "one.png", noise(8, 8))
    assert "at least 2" in refusal("folder", tmp_path)


# Arrays


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")],
)
def test_an_npz_file_is_read_as_keras_and_medmnist_name_its_arrays(tmp_path: Path, names):
    images, labels = noise(6, 8, 8), np.arange(6)
    arrays = dict(zip(names, (images, labels[:, None], images[:2], labels[:2]), strict=True))
    np.savez(tmp_path / "a.npz", **arrays)  # pyright: ignore[reportArgumentType]
    dataset = load_dataset("npz", tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.train_images, images)
    np.testing.assert_array_equal(dataset.train_labels, labels)
    np.testing.assert_array_equal(dataset.test_images, images[:2])


def test_floats_from_0_to_1_and_a_last_axis_of_1_are_the_same_images_and_a_tenth_is_held_out(tmp_path: Path):
    images = noise(20, 8, 8)
    np.savez(tmp_path / "a.npz", images=(images / 255)[..., None], labels=np.array(["text"] * 20))
    dataset = load_dataset("npz", tmp_path / "a.npz")
    both = np.concatenate([dataset.train_images, dataset.test_images])
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in images)
    assert len(dataset.test_images) == 2
    assert set(dataset.train_labels) == {-1}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pixels": noise(4, 8, 8)}, "holds pixels: name the array of images x_train"),
        ({"images": noise(4, 3, 8, 8)}, "channels come last"),
        ({"images": noise(4, 8, 9)}, "only square images"),
        ({"images": noise(4, 8, 8) / 100}, "floats from 0 to 1"),
        ({"images": np.stack([np.zeros((8, 8)), np.full((8, 8), np.nan)])}, "image 1 has a pixel that is no number"),
        ({"images": np.array([{}, {}], object)}, "cannot be read"),
        ({"x_train": noise(4, 8, 8), "x_test": noise(4, 9, 9)}, "different shapes"),
    ],
)
def test_arrays_that_are_no_images_are_refused_by_what_they_are(tmp_path: Path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    assert words in refusal("npz", tmp_path / "a.npz")


def test_of_several_arrays_of_images_it_is_said_which_one_is_read(tmp_path: Path):
    images = noise(20, 8, 8)
    np.savez(tmp_path / "a.npz", images=noise(20, 8, 8, seed=1), x_train=images)
    dataset = load_dataset("npz", tmp_path / "a.npz")
    assert "the array x_train of a.npz" in dataset.made
    assert dataset.train_images[0].tobytes() in {image.tobytes() for image in images}


def test_files_that_are_no_npz_are_refused(tmp_path: Path):
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 nothing")
    assert "no .npz file" in refusal("npz", tmp_path / "a.npz")
    assert "is a folder" in refusal("npz", tmp_path)
    assert "absent" in refusal("npz", tmp_path / "absent.npz")


# IDX


def write_idx(path: Path, array: np.ndarray) -> None:
    content = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_set(folder: Path, prefix: str = "", suffix: str = ".gz", seed: int = 0) -> np.ndarray:
    images, folder = noise(5, 8, 8, seed=seed), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    test_name = "test" if prefix else "t10k"
    for split, part in (("train", images), (test_name, images[:2])):
        write_idx(folder / f"{prefix}{split}-images-idx3-ubyte{suffix}", part)
        write_idx(folder / f"{prefix}{split}-labels-idx1-ubyte{suffix}", np.arange(len(part), dtype=np.uint8))
    return images


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read_raw_and_gzipped_also_where_torchvision_puts_them(tmp_path: Path, suffix):
    images = write_set(tmp_path / "FashionMNIST" / "raw", suffix=suffix)
    dataset = load_dataset("idx", tmp_path)
    np.testing.assert_array_equal(dataset.train_images, images)
    assert dataset.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert len(dataset.test_images) == 2


def test_emnist_is_turned_upright_and_of_several_sets_one_must_be_chosen(tmp_path: Path):
    letters = write_set(tmp_path, "emnist-letters-")
    write_set(tmp_path, "emnist-digits-", seed=1)
    message = refusal("idx", tmp_path)
    assert f"--data-dir {tmp_path}/emnist-digits or {tmp_path}/emnist-letters" in message
    dataset = load_dataset("idx", tmp_path / "emnist-letters")
    np.testing.assert_array_equal(dataset.train_images, letters.transpose(0, 2, 1))
    assert "turned upright" in dataset.made


def test_idx_files_that_do_not_belong_together_are_refused(tmp_path: Path):
    assert "holds no train-images" in refusal("idx", tmp_path)
    write_set(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(4, np.uint8))
    assert "but there are 5 images" in refusal("idx", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bgarbage")
    assert "cannot be read" in refusal("idx", tmp_path)


# Names, and what is MNIST


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("fashion-mnist", "fashion_mnist"),
        ("FashionMNIST", "fashion_mnist"),
        ("CIFAR10", "cifar10"),
        ("CIFAR-10", "cifar10"),
        ("KMNIST", "kmnist"),
        ("MNIST:3.0.1", "mnist:3.0.1"),
        ("EMNIST/letters", "emnist/letters"),
        ("svhn", "svhn_cropped"),
        ("Folder", "folder"),
        ("my_own_set", "my_own_set"),
    ],
)
def test_names_are_taken_as_people_spell_them(written, meant):
    assert canonical_name(written) == canonical_name(meant) == meant


def test_a_name_that_is_nearly_one_is_asked_about():
    assert did_you_mean("fashonmnist", []) == "; did you mean fashion_mnist?"
    assert did_you_mean("cifer10", ["cifar10"]).startswith("; did you mean cifar10")
    assert did_you_mean("zzzzzz", []) == ""


def test_what_is_mnist_its_images_decide_and_not_its_name(tmp_path: Path):
    mnist = load_dataset()
    arrays = {"x_train": mnist.train_images[::-1], "x_test": mnist.test_images}
    np.savez(tmp_path / "mine.npz", x_train=arrays["x_train"], x_test=arrays["x_test"])
    mine = load_dataset("npz", tmp_path / "mine.npz")
    assert mnist.is_mnist
    assert mine.is_mnist
    assert prepare_dataset(mine, image_size=32, train_size=100).is_mnist
    np.savez(tmp_path / "mnist.npz", x_train=255 - mnist.train_images, x_test=arrays["x_test"])
    assert not load_dataset("npz", tmp_path / "mnist.npz").is_mnist
