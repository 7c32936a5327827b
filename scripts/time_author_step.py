"""python scripts/time_author_step.py [--json FILE]: a step of seed 004's DCGAN, written its author's way, beside ours.

The author's way: eager PyTorch in NCHW, Sigmoid and BCELoss, unfused Adam, a DataLoader that turns each image into a
tensor again every epoch, and both losses read after every step. All three train the same networks with batches of 64
and fresh latents for the generator. They take turns, a block of steps each, first forwards, then backwards, and so on,
so that whatever slows the machine slows all of them; ratios are taken within a round. The clock includes the batch.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import jax_impl.device
import jax_impl.trainer
import torch_impl.device
import torch_impl.trainer
from common.data.datasets import load_dataset
from common.data.initial_weights import initial_weights
from common.data.randomness import epoch_permutation
from common.errors import report_errors
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.options import check_result_file, parse
from common.records.environment import default_num_threads, describe_environment
from common.records.folder import write_atomically
from common.training.loop import chunk_data
from comparison.publish.systems_tables import author_step_table

PRESET = "seed004"
TWINS = {"torch": (torch_impl.trainer, torch_impl.device), "jax": (jax_impl.trainer, jax_impl.device)}
Block = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Time a step of seed004 as its author wrote it beside ours."""

    num_rounds: int = 8
    """Blocks of each arm; the first, with compilation in it, is not counted."""
    steps_per_block: int = 8
    """Steps in a block."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the result to this file as well."""


class Digits(Dataset[torch.Tensor]):
    """As torchvision's MNIST with ToTensor and Normalize(0.5, 0.5): every image is converted when it is asked for."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(Image.fromarray(self.images[index]))).float().div(255)[None]
        return (pixels - 0.5) / 0.5


def author_block(images: np.ndarray, *, steps: int) -> Block:
    """Seconds a step, data included; layers as in the author's model.py, in our words."""
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
    networks = (generator, discriminator)
    optimizers = [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in networks]
    batches = itertools.chain.from_iterable(
        DataLoader(Digits(images), batch_size=64, shuffle=True, drop_last=True) for _ in itertools.count()
    )
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)

    def step(real_images: torch.Tensor) -> None:
        real_loss = criterion(discriminator(real_images), ones)
        fake_images = generator(torch.randn(64, 100, 1, 1))
        loss = real_loss + criterion(discriminator(fake_images.detach()), zeros)
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        loss.item()
        generator_loss = criterion(discriminator(generator(torch.randn(64, 100, 1, 1))), ones)
        optimizers[0].zero_grad()
        generator_loss.backward()
        optimizers[0].step()
        generator_loss.item()

    def block() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            step(next(batches))
        return (time.perf_counter() - started) / steps

    return block


def twin_block(framework: str, images: np.ndarray, *, steps: int) -> Block:
    """Seconds a step of one of ours, data included."""
    trainer_module, device_module = TWINS[framework]
    config = PRESETS[PRESET].recipe
    architecture = build_architecture(config)
    trainer = trainer_module.create_trainer(config, architecture, device_module.select_device("cpu"))
    trainer.load_weights(initial_weights(config, architecture))
    order = epoch_permutation(0, 0, len(images))
    starts: Iterator[int] = itertools.cycle(range(0, len(images) // config.batch_size - steps, steps))

    def block() -> float:
        started = time.perf_counter()
        first = next(starts)
        trainer.train_chunk(*chunk_data(config, images, order, first, steps, first_step=first))
        trainer.wait()
        return (time.perf_counter() - started) / steps

    return block


def main() -> int:
    """Print the table, and write everything measured."""
    options = parse(Options, sys.argv[1:], program="time_author_step.py")
    check_result_file(options.json)
    threads = default_num_threads()
    for _, device_module in TWINS.values():
        device_module.configure(num_threads=threads)
    images = load_dataset().train_images
    steps = options.steps_per_block
    arms = {"author": author_block(images, steps=steps)} | {
        framework: twin_block(framework, images, steps=steps) for framework in TWINS
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(options.num_rounds + 1):
        for name in list(arms) if round_number % 2 else reversed(arms):
            measured = arms[name]()
            if round_number:
                seconds[name].append(measured)
    result = summary(seconds, steps_per_epoch=len(images) // PRESETS[PRESET].recipe.batch_size)
    result |= {"threads": threads, "steps_per_block": steps, "environment": describe_environment()}
    print(author_step_table(result))
    if options.json:
        write_atomically(options.json, (json.dumps(result, indent=2) + "\n").encode())
    return 0


def summary(seconds: dict[str, list[float]], *, steps_per_epoch: int) -> dict[str, Any]:
    """Medians of the blocks; the ratio to the author's step is the median over rounds, with its extremes."""
    arms = {}
    for name, blocks in seconds.items():
        ratios = [block / author for block, author in zip(blocks, seconds["author"], strict=True)]
        arms[name] = {
            "milliseconds_per_step": 1e3 * float(np.median(blocks)),
            "seconds_per_epoch": steps_per_epoch * float(np.median(blocks)),
            "ratio_to_author": {"median": float(np.median(ratios)), "low": min(ratios), "high": max(ratios)},
            "blocks_seconds_per_step": blocks,
        }
    return {"preset": PRESET, "num_rounds": len(seconds["author"]), "arms": arms}


if __name__ == "__main__":
    sys.exit(report_errors("time_author_step.py", main))
