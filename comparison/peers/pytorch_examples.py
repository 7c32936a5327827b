"""The step of pytorch/examples, dcgan/main.py, in our words, at the sizes of dcgan32: a layer less, half the width.

Eager PyTorch in NCHW, a sigmoid and `BCELoss`, one `backward()` for the real images and one for the generated, plain
Adam, the discriminator's gradients in the generator's update too, and five numbers read a step, for a line of the log.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.optim import Adam
from torchvision import transforms

from comparison.peers.loader import endless_batches

NUM_LATENTS, NUM_FEATURES = 100, 32


def steps(images: np.ndarray, *, batch_size: int) -> Iterator[tuple[float, float]]:
    """Train on uint8 images (N, 28, 28), a step at a time: the discriminator's loss, the generator's."""
    z, f = NUM_LATENTS, NUM_FEATURES
    generator = nn.Sequential(
        *(nn.ConvTranspose2d(z, 4 * f, 4, 1, 0, bias=False), nn.BatchNorm2d(4 * f), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(4 * f, 2 * f, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * f), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(2 * f, f, 4, 2, 1, bias=False), nn.BatchNorm2d(f), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(f, 1, 4, 2, 1, bias=False), nn.Tanh()),
    ).apply(initialize)
    discriminator = nn.Sequential(
        *(nn.Conv2d(1, f, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(f, 2 * f, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * f), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(2 * f, 4 * f, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * f), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(4 * f, 1, 4, 1, 0, bias=False), nn.Sigmoid(), nn.Flatten(0)),
    ).apply(initialize)
    criterion = nn.BCELoss()
    generator_optimizer = Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    discriminator_optimizer = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    to_tensor = transforms.Compose([transforms.Resize(32), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    for real_images in endless_batches(images, to_tensor, batch_size=batch_size):
        discriminator.zero_grad()
        targets = torch.full((batch_size,), 1.0)
        real_scores = discriminator(real_images)
        real_loss = criterion(real_scores, targets)
        real_loss.backward()
        real_scores.mean().item()
        fake_images = generator(torch.randn(batch_size, z, 1, 1))
        targets.fill_(0.0)
        fake_scores = discriminator(fake_images.detach())
        fake_loss = criterion(fake_scores, targets)
        fake_loss.backward()
        fake_scores.mean().item()
        discriminator_optimizer.step()

        generator.zero_grad()
        targets.fill_(1.0)
        fake_scores = discriminator(fake_images)
        generator_loss = criterion(fake_scores, targets)
        generator_loss.backward()
        fake_scores.mean().item()
        generator_optimizer.step()
        yield (real_loss + fake_loss).item(), generator_loss.item()


def initialize(module: nn.Module) -> None:
    """As the paper does: N(0, 0.02), and BatchNorm's weights around 1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
