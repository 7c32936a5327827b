"""What TFDS prepared, in either file format, is read without TensorFlow; whatever is wrong with it is one line."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.data.datasets import Dataset, load_dataset
from common.data.record_files import masked_crc32c
from common.errors import UserError

NUM_TRAIN, NUM_TEST = 6, 2


def png(index: int, shape: tuple[int, ...] = (8, 8)) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def example(image: bytes, label: Any) -> bytes:
    from tensorflow_datasets.proto.tf_example_generated_pb2 import Example

    message = Example()
    message.features.feature["image"].bytes_list.value.append(image)
    if isinstance(label, str):
        message.features.feature["label"].bytes_list.value.append(label.encode())
    else:
        message.features.feature["label"].int64_list.value.extend(label)
    return message.SerializeToString()


def write_tfrecord(path: Path, records: list[bytes]) -> None:
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            for part in (length, record):
                file.write(part + struct.pack("<I", int(masked_crc32c([part])[0])))


def write_array_record(path: Path, records: list[bytes]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


WRITERS = {"tfrecord": write_tfrecord, "array_record": write_array_record}


def prepare(
    data_dir: Path,
    name: str = "cats",
    *,
    file_format: str = "tfrecord",
    labels: Any = (1,),
    shapes: tuple[tuple[int, ...], ...] = ((8, 8),),
    version: str = "1.0.0",
) -> Path:
    """A dataset as TFDS leaves it: NAME/VERSION with dataset_info.json and one shard a split."""
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    base = name.split("/")[0]
    for split, number in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        records = [example(png(index, shapes[index % len(shapes)]), labels) for index in range(number)]
        WRITERS[file_format](folder / f"{base}-{split}.{file_format}-00000-of-00001", records)
    splits = [{"name": "train", "shardLengths": [str(NUM_TRAIN)]}, {"name": "test", "shardLengths": [str(NUM_TEST)]}]
    info = {"name": base, "fileFormat": file_format, "splits": splits, "version": version}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def refusal(name: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_dataset(name, path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def is_read(dataset: Dataset) -> bool:
    images = np.stack([np.asarray(Image.open(io.BytesIO(png(index)))) for index in range(NUM_TRAIN)])
    return np.array_equal(dataset.train_images, images) and len(dataset.test_images) == NUM_TEST


def test_the_checksum_is_castagnoli_s_masked_as_tfrecord_has_it():
    # RFC 3720, B.4: 32 bytes of zeros and 32 of ones; "123456789" is the usual third.
    sums = {b"\0" * 32: 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, b"123456789": 0xE3069283, b"": 0}
    masked = [((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF for value in sums.values()]
    assert masked_crc32c(list(sums)).tolist() == masked


@pytest.mark.parametrize("file_format", WRITERS)
@pytest.mark.parametrize("place", ["", "..", "cats", "cats/1.0.0"])
def test_it_is_found_a_level_too_high_or_too_deep_in_either_format(tmp_path: Path, file_format, place):
    prepare(tmp_path / "data", file_format=file_format)
    assert is_read(load_dataset("cats", (tmp_path / "data" / place).resolve()))


def test_the_newest_version_is_taken_unless_one_is_named(tmp_path: Path):
    for version in ("2.0.0", "10.0.0"):
        prepare(tmp_path, version=version)
    assert "cats 10.0.0" in load_dataset("cats", tmp_path).made
    assert "cats 2.0.0" in load_dataset("cats:2.0.0", tmp_path).made


def test_of_several_forms_one_must_be_named(tmp_path: Path):
    for config in ("small", "large"):
        prepare(tmp_path, f"cats/{config}")
    assert "choose one, --dataset cats/large or --dataset cats/small" in refusal("cats", tmp_path)
    assert is_read(load_dataset("cats/small", tmp_path))


@pytest.mark.parametrize("labels", ["a text", (), (1, 2)])
def test_labels_that_are_no_number_are_none_since_training_reads_none(tmp_path: Path, labels):
    prepare(tmp_path, labels=labels)
    assert load_dataset("cats", tmp_path).train_labels.tolist() == [-1] * NUM_TRAIN


def test_images_of_different_sizes_are_resized_and_cropped(tmp_path: Path):
    prepare(tmp_path, shapes=((20, 30, 3), (30, 20, 3)))
    dataset = load_dataset("cats", tmp_path, image_size=16)
    assert dataset.train_images.shape == (NUM_TRAIN, 16, 16, 3)
    assert "resized and centre-cropped to 16 px" in dataset.made


@pytest.mark.parametrize("file_format", WRITERS)
@pytest.mark.parametrize("at", [0.2, 0.4, 0.6, 0.95])
def test_a_shard_with_overwritten_bytes_is_refused(tmp_path: Path, file_format, at):
    folder = prepare(tmp_path, file_format=file_format)
    shard = folder / f"cats-train.{file_format}-00000-of-00001"
    content = bytearray(shard.read_bytes())
    # An array_record begins with a signature that tells nothing, and ends in padding up to its last chunk.
    start = int(at * (len(content) if file_format == "tfrecord" else 600))
    content[start : start + 4] = bytes(byte ^ 255 for byte in content[start : start + 4])
    shard.write_bytes(content)
    assert "is damaged" in refusal("cats", tmp_path)


def test_a_shard_that_is_missing_cut_or_not_as_long_as_promised_is_refused(tmp_path: Path):
    folder = prepare(tmp_path)
    shard = folder / "cats-train.tfrecord-00000-of-00001"
    content = shard.read_bytes()
    shard.write_bytes(content[:-3])
    assert "cut short" in refusal("cats", tmp_path)
    write_tfrecord(shard, [example(png(0), (1,))])
    assert "holds 1 records instead of 6" in refusal("cats", tmp_path)
    shard.unlink()
    assert "is damaged" in refusal("cats", tmp_path)
    write_tfrecord(shard, [b"no example"] * NUM_TRAIN)
    assert "is damaged" in refusal("cats", tmp_path)
    write_tfrecord(shard, [example(b"no image", (1,))] * NUM_TRAIN)
    assert "cannot be decoded" in refusal("cats", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"name": 3}',
        '{"name": "cats", "splits": [{"name": "train"}]}',
        '{"name": "cats", "splits": [{"name": "train", "shardLengths": ["x"]}]}',
        '{"name": "cats", "fileFormat": "parquet"}',
        '{"name": "cats", "fileFormat": "array_record", "splits": []}',
        '{"name": "../../etc/x", "splits": [{"name": "train", "shardLengths": [1]}]}',
    ],
)
def test_malformed_metadata_is_one_line(tmp_path: Path, content):
    folder = prepare(tmp_path)
    (folder / "dataset_info.json").write_text(content)
    assert "cats" in refusal("cats", tmp_path)


def test_another_dataset_in_the_folder_is_named(tmp_path: Path):
    prepare(tmp_path, "dogs")
    assert "it holds dogs" in refusal("cats", tmp_path)
    assert "it holds dogs" in refusal("mnist", tmp_path)


def test_a_set_called_mnist_that_holds_other_images_is_not_mnist(tmp_path: Path):
    prepare(tmp_path, "mnist", version="3.0.1")
    assert not load_dataset("mnist", tmp_path).is_mnist
