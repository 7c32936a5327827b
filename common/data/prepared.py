"""A dataset that TFDS prepared, found by its dataset_info.json and read without TensorFlow and without its builder."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.data.decoding import UndecodableError, decode_all, stack
from common.data.record_files import DamagedShardError, read_records
from common.data.splits import NO_LABEL, Loaded, Split, hold_out
from common.errors import UserError
from common.safe_read import MAX_JSON_BYTES, explain, one_line, parse_json, read_bounded, unreadable_is_named
from common.stages import in_stage

INFO_FILE = "dataset_info.json"
FILE_FORMATS = ("array_record", "tfrecord")
TEST_SPLITS = ("test", "validation")  # the latter is the usual second name
VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


class SplitInfo(BaseModel):
    """A split as dataset_info.json describes it."""

    model_config = ConfigDict(extra="ignore")
    name: str
    shard_lengths: list[int] = Field(alias="shardLengths", max_length=100_000)
    template: str = Field(DEFAULT_TEMPLATE, alias="filepathTemplate")


class DatasetInfo(BaseModel):
    """What of dataset_info.json is needed to read the images."""

    model_config = ConfigDict(extra="ignore")
    name: str
    file_format: str = Field("tfrecord", alias="fileFormat")
    splits: list[SplitInfo] = []


class Prepared(NamedTuple):
    """A folder NAME[/CONFIG]/VERSION, and what its dataset_info.json says."""

    folder: Path
    info: DatasetInfo


def find_prepared(name: str, data_dir: Path) -> Prepared | None:
    """The newest version, or the one that is asked for, if `data_dir` is, holds or lies within the dataset's folder."""
    path, _, version = name.partition(":")
    data_dir = data_dir.absolute()
    with unreadable_is_named(data_dir):
        inside = [data_dir, *sorted(entry for entry in data_dir.iterdir() if entry.is_dir())]
        places = [place / path for place in (*inside, *data_dir.parents[:3])]
        found = [folder for place in places for folder in _versions(place) if _is_line(data_dir, folder)]
        if version:
            found = [folder for folder in found if folder.name == version]
        elif not found and "/" not in path:
            infos = [info for place in places for info in place.glob(f"*/*/{INFO_FILE}") if _is_line(data_dir, info)]
            if choices := sorted({f"--dataset {path}/{one_line(info.parents[1].name)}" for info in infos}):
                raise UserError(f"{one_line(data_dir)} holds forms of {path}: choose one, {' or '.join(choices[:6])}")
    if not found:
        return None
    return Prepared(found[0], _read_info(found[0]))


def _versions(place: Path) -> list[Path]:
    """Folders of prepared versions, the newest first."""
    found = [info.parent for info in place.glob(f"*/{INFO_FILE}") if VERSION.fullmatch(info.parent.name)]
    return sorted(found, key=lambda folder: [int(number) for number in folder.name.split(".")], reverse=True)


def _is_line(first: Path, second: Path) -> bool:
    """Whether one of the two lies within the other."""
    return first.is_relative_to(second) or second.is_relative_to(first)


def names_within(data_dir: Path) -> list[str]:
    """Datasets that are prepared in a folder, for who named another."""
    with unreadable_is_named(data_dir):
        infos = [*data_dir.glob(f"*/*/{INFO_FILE}"), *data_dir.glob(f"*/*/*/{INFO_FILE}")]
        return sorted({one_line(info.parents[1].relative_to(data_dir).as_posix()) for info in infos})


def _read_info(folder: Path) -> DatasetInfo:
    path = folder / INFO_FILE
    try:
        info = DatasetInfo.model_validate(parse_json(read_bounded(path, limit=MAX_JSON_BYTES)))
    except ValidationError as error:
        raise UserError(f"{one_line(path)} is damaged ({explain(error)}): prepare the dataset again") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{one_line(path)} is damaged ({one_line(error)}): prepare the dataset again") from None
    if info.file_format not in FILE_FORMATS:
        raise UserError(
            f"{one_line(folder)} is stored as {one_line(info.file_format)}, which cannot be read: prepare it with "
            f"`tfds build {one_line(info.name)} --file_format=array_record`"
        )
    return info


def read_prepared(prepared: Prepared, *, train_size: int, image_size: int) -> Loaded:
    """Its train and test split; images that are not squares of one size are resized and cropped."""
    by_name = {split.name: split for split in prepared.info.splits if split.shard_lengths}
    if "train" not in by_name:
        held = one_line(", ".join(by_name)) or "none"
        raise UserError(f"{one_line(prepared.folder)} has no split train ({held}): choose another dataset")
    test_name = next((name for name in TEST_SPLITS if name in by_name), None)
    try:
        train = _examples(prepared, by_name["train"], limit=train_size if test_name else 0)
        test = _examples(prepared, by_name[test_name], limit=0) if test_name else []
        images, made = _decode([*train, *test], prepared, image_size)
    except DamagedShardError as error:
        raise UserError(
            f"{one_line(prepared.folder)} is damaged ({error}): prepare it again with "
            f"`tfds build {one_line(prepared.info.name)} --file_format=array_record`, or copy it again"
        ) from None
    labels = np.array([_label(example) for example in (*train, *test)], np.int64)
    num_train = len(train)
    whole = Split(images[:num_train], labels[:num_train])
    if not test_name:
        return hold_out(whole, one_line(prepared.folder), made)
    return Loaded(whole, Split(images[num_train:], labels[num_train:]), made)


def _examples(prepared: Prepared, split: SplitInfo, *, limit: int) -> list[Any]:
    """The first `limit` examples (0: all), as the protocol buffers that TFDS wrote."""
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto.tf_example_generated_pb2 import Example

    records: list[bytes] = []
    num_shards = len(split.shard_lengths)
    for number, length in enumerate(split.shard_lengths):
        name = (
            split.template.replace("{DATASET}", prepared.info.name)
            .replace("{SPLIT}", split.name)
            .replace("{FILEFORMAT}", prepared.info.file_format)
            .replace("{SHARD_X_OF_Y}", f"{number:05d}-of-{num_shards:05d}")
        )
        if os.sep in name or "\0" in name:
            raise DamagedShardError(f"{INFO_FILE} names a file {one_line(name)}")
        records += read_records(prepared.folder / name, prepared.info.file_format, num_expected=length)
        if limit and len(records) >= limit:
            break
    try:
        return [Example.FromString(record).features.feature for record in records[: limit or None]]
    except DecodeError:
        raise DamagedShardError(f"a record of {one_line(split.name)} is no example") from None


def _decode(examples: list[Any], prepared: Prepared, image_size: int) -> tuple[np.ndarray, str]:
    where = one_line(prepared.folder)
    if "image" not in examples[0]:
        held = one_line(", ".join(sorted(examples[0])))
        raise UserError(f"{where} has no feature named 'image' ({held}): choose an image dataset")
    images = _decoded(examples, where, None)
    shapes = {image.shape[:2] for image in images}
    height, width = max(shapes)
    made = f"{one_line(prepared.info.name)} {one_line(prepared.folder.name)}, as TFDS prepared it"
    if len(shapes) > 1 or height != width:
        images = _decoded(examples, where, image_size)
        made += f", resized and centre-cropped to {image_size} px"
    return stack(images, grey=all(image.ndim == 2 for image in images)), made


def _decoded(examples: list[Any], where: str, image_size: int | None) -> list[np.ndarray]:
    images = []
    decoded = decode_all(examples, _image_bytes, image_size)
    for image in in_stage(decoded, f"reading {len(examples):,} images", len(examples)):
        if isinstance(image, UndecodableError):
            raise DamagedShardError(f"image {len(images)} cannot be decoded: {image}")
        images.append(image)
    return images


def _image_bytes(example: Any) -> bytes:
    values = example["image"].bytes_list.value
    if len(values) != 1:
        raise ValueError("it is not one PNG, JPEG or WebP file")
    return values[0]


def _label(example: Any) -> int:
    """Training reads none: a text, several labels or no label at all are -1."""
    values = example["label"].int64_list.value if "label" in example else ()
    return values[0] if len(values) == 1 else NO_LABEL
