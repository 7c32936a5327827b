"""Seed 004's step: the DCGAN of a blog post, github.com/Kunal627/kunal627.github.io, code/gan, in our words.

Eager PyTorch in NCHW, native 28 px, biases everywhere, a sigmoid and `BCELoss`, plain Adam, fresh latents for the
generator's update, whose pass through the discriminator leaves gradients that nobody uses, and both losses read.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.optim import Adam
from torchvision import transforms

from comparison.peers.loader import endless_batches


def steps(images: np.ndarray, *, batch_size: int) -> Iterator[tuple[float, float]]:
    """Train on uint8 images (N, 28, 28), a step at a time: the discriminator's loss, the generator's."""
    generator = nn.Sequential(
        *(nn.ConvTranspose2d(100, 256, 7), nn.BatchNorm2d(256), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(64, 1, 3, 1, 1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(128, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Flatten(), nn.Linear(256 * 3 * 3, 1), nn.Sigmoid()),
    )
    criterion = nn.BCELoss()
    generator_optimizer = Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    discriminator_optimizer = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros = torch.ones(batch_size, 1), torch.zeros(batch_size, 1)
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    for real_images in endless_batches(images, to_tensor, batch_size=batch_size):
        fake_images = generator(torch.randn(batch_size, 100, 1, 1))
        real_loss = criterion(discriminator(real_images), ones)
        discriminator_loss = real_loss + criterion(discriminator(fake_images.detach()), zeros)
        discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        discriminator_optimizer.step()

        fake_images = generator(torch.randn(batch_size, 100, 1, 1))
        generator_loss = criterion(discriminator(fake_images), ones)
        generator_optimizer.zero_grad()
        generator_loss.backward()
        generator_optimizer.step()
        yield discriminator_loss.item(), generator_loss.item()
