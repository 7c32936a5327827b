"""The bundled MNIST and our resizing are what torchvision makes of them."""

import gzip
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from common.data.datasets import MNIST_SHA256, Dataset, fit_images, load_dataset
from common.data.decoding import decode, resize_and_crop
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L"])
@pytest.mark.parametrize("size", [(50, 33), (33, 50), (37, 37), (32, 32), (20, 31), (32, 45), (300, 7)])
@pytest.mark.parametrize("image_size", [28, 32])
def test_a_picture_is_decoded_resized_and_cropped_as_torchvision_does_it(mode, size, image_size, tmp_path):
    from torchvision.datasets.folder import pil_loader
    from torchvision.transforms import CenterCrop, Compose, Resize

    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
    picture = Image.fromarray(noise).convert("RGB" if mode in ("P", "CMYK", "L") else mode).convert(mode)
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # lying on its side, which torchvision does not look at
    picture.save(content, "JPEG" if mode == "CMYK" else "PNG", exif=exif)
    path = tmp_path / "picture"
    path.write_bytes(content.getvalue())
    reference = Compose([Resize(image_size), CenterCrop(image_size)])(pil_loader(path))
    ours = np.asarray(resize_and_crop(decode(content.getvalue()), image_size))
    expected = np.asarray(reference)
    np.testing.assert_array_equal(ours, expected if ours.ndim == 3 else expected[..., 0])
