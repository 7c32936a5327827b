"""The step of eriklindernoren/PyTorch-GAN, implementations/dcgan, in our words, with its own networks at 32 px.

Eager PyTorch in NCHW; the generator enlarges its maps before 3x3 convolutions, so that most of its arithmetic is at
full size; the discriminator has dropout. Generator first, then the discriminator on the same generated images; a
sigmoid and `BCELoss`, plain Adam, latents drawn by NumPy, both losses read. Most BatchNorms have an epsilon of 0.8.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.optim import Adam
from torchvision import transforms

from comparison.peers.loader import endless_batches

NUM_LATENTS = 100


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """Generator of latents (N, 100), discriminator of images (N, 1, 32, 32)."""
    generator = nn.Sequential(
        *(nn.Linear(NUM_LATENTS, 128 * 8 * 8), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128)),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(128, 128, 3, 1, 1)),
        *(nn.BatchNorm2d(128, 0.8), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, 1, 1)),
        *(nn.BatchNorm2d(64, 0.8), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(64, 1, 3, 1, 1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *_block(1, 16),
        *(*_block(16, 32), nn.BatchNorm2d(32, 0.8)),
        *(*_block(32, 64), nn.BatchNorm2d(64, 0.8)),
        *(*_block(64, 128), nn.BatchNorm2d(128, 0.8)),
        *(nn.Flatten(), nn.Linear(128 * 2 * 2, 1), nn.Sigmoid()),
    )
    return generator, discriminator


def steps(images: np.ndarray, *, batch_size: int) -> Iterator[tuple[float, float]]:
    """Train on uint8 images (N, 28, 28), a step at a time: the discriminator's loss, the generator's."""
    generator, discriminator = networks()
    criterion = nn.BCELoss()
    generator_optimizer = Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    discriminator_optimizer = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    random = np.random.default_rng(0)
    to_tensor = transforms.Compose([transforms.Resize(32), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    for real_images in endless_batches(images, to_tensor, batch_size=batch_size):
        ones, zeros = torch.ones(batch_size, 1), torch.zeros(batch_size, 1)
        generator_optimizer.zero_grad()
        latents = torch.tensor(random.normal(size=(batch_size, NUM_LATENTS)), dtype=torch.float32)
        fake_images = generator(latents)
        generator_loss = criterion(discriminator(fake_images), ones)
        generator_loss.backward()
        generator_optimizer.step()

        discriminator_optimizer.zero_grad()
        real_loss = criterion(discriminator(real_images), ones)
        fake_loss = criterion(discriminator(fake_images.detach()), zeros)
        discriminator_loss = (real_loss + fake_loss) / 2
        discriminator_loss.backward()
        discriminator_optimizer.step()
        yield discriminator_loss.item(), generator_loss.item()


def _block(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(in_channels, out_channels, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.25)
