"""The bundled MNIST and our resizing are what torchvision makes of them."""

import gzip
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from common.data.datasets import MNIST_SHA256, Dataset, fit_images, load_dataset
from tests.common.test_data import BUNDLED


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset()


@pytest.mark.parametrize(("train", "split"), [(True, "train"), (False, "test")])
def test_torchvision_reads_the_bundled_files_to_the_same_tensors(mnist, train, split, tmp_path):
    from torchvision.datasets import MNIST

    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_SHA256:
        (raw / name).write_bytes(gzip.decompress((BUNDLED / f"{name}.gz").read_bytes()))
    reference = MNIST(tmp_path, train=train, download=False)
    assert torch.equal(reference.data, torch.tensor(getattr(mnist, f"{split}_images")))
    assert torch.equal(reference.targets, torch.tensor(getattr(mnist, f"{split}_labels")))


@pytest.mark.parametrize("image_size", [40, 64, 20])
def test_resizing_is_torchvisions_bilinear_resize(digits, image_size):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize

    resized = fit_images(digits[:16], image_size)
    for image, ours in zip(digits, resized, strict=False):
        # torchvision resizes PIL images too, but annotates only tensors.
        reference: Any = resize(Image.fromarray(image), [image_size, image_size], InterpolationMode.BILINEAR)  # pyright: ignore[reportArgumentType]
        np.testing.assert_array_equal(ours, np.asarray(reference))
