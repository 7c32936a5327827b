"""What each step of a chunk is given, taken from what lies on the device. Mirrors jax_impl/chunks.py."""

from collections.abc import Iterator

from torch import Tensor


def steps_of(
    images: Tensor, indices: Tensor, latents: Tensor, decays: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each step its images (B, S, S[, 3]), uint8, its latents (L, B, Z), and the decay of the average, a scalar."""
    for step in range(len(indices)):
        yield step_of(images, indices, latents, decays, step)


def step_of(
    images: Tensor, indices: Tensor, latents: Tensor, decays: Tensor, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What one step of the chunk is given; `images` are all that there are to train on."""
    return images_at(images, indices[step]), latents[step], decays[step]


def images_at(images: Tensor, indices: Tensor) -> Tensor:
    """A batch of them."""
    return images.index_select(0, indices)
