"""A TensorFlow Datasets image dataset: the prepared one, else TFDS is asked to download and prepare it."""

import logging
import os
from pathlib import Path
from typing import Any

from common.data.names import did_you_mean
from common.data.prepared import find_prepared, names_within, read_prepared
from common.data.splits import Loaded
from common.errors import UserError
from common.safe_read import one_line

TFDS_MIRROR = "https://storage.googleapis.com"  # where TFDS looks first for most datasets


def read_tfds(name: str, data_dir: Path | None, *, train_size: int, image_size: int) -> Loaded:
    """The train and test split of a dataset; it is prepared first where it is not, if a network allows."""
    place = data_dir or _default_folder()
    if data_dir is not None and not data_dir.is_dir():
        what = "a file" if data_dir.exists() else "not there"
        raise UserError(
            f"--data-dir {one_line(data_dir)} is not a folder ({what}): name the one that holds {name}/VERSION/, "
            "or where it was moved to"
        )
    prepared = find_prepared(name, place) if place is not None and place.is_dir() else None
    if prepared is None:
        builder = _prepare(name, data_dir)
        prepared = find_prepared(name, Path(builder.data_dir))
        if prepared is None:
            raise UserError(f"{name} was prepared, but is not in {one_line(builder.data_dir)}: pass its --data-dir")
    return read_prepared(prepared, train_size=train_size, image_size=image_size)


def _default_folder() -> Path | None:
    try:
        return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    except RuntimeError:  # a container's user may have no home
        return None


def _prepare(name: str, data_dir: Path | None) -> Any:
    """Have TFDS download a dataset and store it as array_record; returns its builder."""
    where = f"--dataset {name}" + (f" --data-dir {one_line(data_dir)}" if data_dir else "")
    builder = _builder(name, data_dir, where)
    try:
        import requests

        # TFDS retries for minutes without a word: ask once whether there is a network at all.
        requests.head(TFDS_MIRROR, timeout=5)
        print(f"{where} is not prepared in {builder.data_dir}: downloading it")
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # TFDS lets through whatever its downloaders and parsers raise
        raise UserError(
            f"{where} is not prepared there{_what_is_there(data_dir)} and could not be downloaded "
            f"({type(error).__name__}): run `tfds build {name} --file_format=array_record` where there is a network, "
            f"and pass its folder as --data-dir"
        ) from None
    return builder


def _builder(name: str, data_dir: Path | None, where: str) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"reading {name} needs TFDS ({error}): pip install tensorflow-datasets array-record") from None
    logging.getLogger("absl").setLevel(logging.ERROR)
    tfds.display_progress_bar(False)
    try:
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except Exception as error:  # a metadata file that is no JSON, say
        reason = one_line(str(error).strip().splitlines()[0])[:160] if isinstance(error, AssertionError) else ""
        known = tfds.list_builders(with_community_datasets=False)
        raise UserError(
            f"{where}: TFDS knows no such dataset{f' ({reason})' if reason else ''}{did_you_mean(name, known)}"
            f"{_what_is_there(data_dir)}; leave --dataset out for MNIST, pass `folder` for your own images, "
            "or see tensorflow.org/datasets/catalog for the names"
        ) from None


def _what_is_there(data_dir: Path | None) -> str:
    """What the folder holds instead, in brackets, if it is something that could have been meant."""
    if data_dir is None:
        return ""
    if names := names_within(data_dir):
        return f" (it holds {', '.join(names[:4])})"
    suffixes = {entry.suffix.lower() for entry in data_dir.iterdir()} | {p.suffix.lower() for p in data_dir.glob("*/*")}
    if suffixes & {".png", ".jpg", ".jpeg", ".webp"}:
        return " (it holds images: pass --dataset folder)"
    if any("idx" in entry.name for entry in data_dir.iterdir()):
        return " (it holds IDX files: pass --dataset idx)"
    return ""
