"""Read a TensorFlow Datasets image dataset without TensorFlow, through `tfds.data_source`."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError

TFDS_MIRROR = "https://storage.googleapis.com"  # where TFDS looks first for most datasets
Split = tuple[np.ndarray, np.ndarray]  # images uint8 (N, S, S) or (N, S, S, 3), labels int64 (N,)


def read_tfds(name: str, data_dir: Path | None, *, train_size: int) -> tuple[Split, Split]:
    """The train and test split of a dataset; it is prepared first where it is not, if a network allows."""
    builder = _builder(name, data_dir)
    train = _read_split(builder, "train", limit=train_size)
    # Not every dataset has a test split; `validation` is the usual second name.
    test_name = next((split for split in ("test", "validation") if split in builder.info.splits), "train")
    return train, train if test_name == "train" else _read_split(builder, test_name)


def _builder(name: str, data_dir: Path | None) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"reading {name} needs TFDS ({error}): pip install tensorflow-datasets array-record") from None
    logging.getLogger("absl").setLevel(logging.ERROR)
    where = f"--dataset {name}" + (f" --data-dir {data_dir}" if data_dir else "")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"--data-dir {data_dir} is not a folder: name the one that holds {name}/<version>/")
    tfds.display_progress_bar(False)
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:160] if isinstance(error, AssertionError) else "no such dataset"
        raise UserError(
            f"{where}: TFDS knows no such dataset ({reason}); leave --dataset out for MNIST, "
            f"or see tensorflow.org/datasets/catalog for the names"
        ) from None
    if "image" not in dict(builder.info.features or {}):  # pyright: ignore[reportCallIssue, reportArgumentType]
        raise UserError(f"{where} has no feature named 'image': choose an image dataset")
    if not builder.info.splits:
        _prepare(builder, where)
    return builder


def _prepare(builder: Any, where: str) -> None:
    import requests

    try:
        # TFDS retries for minutes without a word: ask once whether there is a network at all.
        requests.head(TFDS_MIRROR, timeout=5)
        print(f"{where} is not prepared in {builder.data_dir}: downloading it")
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # TFDS lets through whatever its downloaders and parsers raise
        raise UserError(
            f"{where} is not prepared in {builder.data_dir} and could not be downloaded ({type(error).__name__}): run "
            f"`tfds build {builder.name} --file_format=array_record` where there is a network, "
            f"and pass its folder as --data-dir"
        ) from None


def _read_split(builder: Any, split: str, *, limit: int = 0) -> Split:
    try:
        source = builder.as_data_source(split=split)
        examples = [source[index] for index in range(min(limit or len(source), len(source)))]
    except (ValueError, NotImplementedError, OSError, RuntimeError) as error:  # the last: a damaged array_record
        raise UserError(
            f"{builder.name} in {builder.data_dir} cannot be read ({str(error).splitlines()[0][:160]}): "
            f"prepare it with `tfds build {builder.name} --file_format=array_record`"
        ) from None
    shapes = {example["image"].shape for example in examples}
    if len(shapes) != 1:
        raise UserError(f"{builder.name} has images of {len(shapes)} different sizes: choose a dataset with one")
    height, width, num_channels = shapes.pop()
    if height != width or num_channels not in (1, 3) or examples[0]["image"].dtype != np.uint8:
        raise UserError(
            f"{builder.name} has {height}x{width} images with {num_channels} channels: "
            f"only square uint8 grayscale or RGB images can be trained on"
        )
    images = np.stack([example["image"] for example in examples])
    labels = np.array([example.get("label", -1) for example in examples], np.int64)
    return images[..., 0] if num_channels == 1 else images, labels
