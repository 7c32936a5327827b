"""The data loader of the PyTorch peers: torchvision's transforms, over images in memory, in the step's own process."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset[Tensor]):
    """uint8 images (N, S, S), each turned into a tensor when it is asked for, as torchvision's MNIST does."""

    def __init__(self, images: np.ndarray, transform: Callable[[Image.Image], Tensor]) -> None:
        self._images = images
        self._transform = transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return self._transform(Image.fromarray(self._images[index]))


def endless_batches(images: np.ndarray, transform: Any, *, batch_size: int) -> Iterator[Tensor]:
    """Shuffled batches (B, 1, S, S), epoch after epoch, without the last partial one."""
    loader = DataLoader(Digits(images, transform), batch_size=batch_size, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(loader for _ in itertools.count())
