"""python -m comparison.peers.block ARM: train one arm, so many steps for each number on stdin; the seconds on stdout.

Between two numbers the process waits in a read, so that the arm whose turn it is has the machine.
"""

import importlib
import itertools
import math
import sys
import time
from collections.abc import Callable

import numpy as np

import jax_impl.__main__
import torch_impl.__main__
from common.data.datasets import load_dataset, prepare_dataset
from common.data.initial_weights import initial_weights
from common.data.randomness import epoch_permutation
from common.errors import RunFailedError, UserError, report_errors
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.records.environment import default_num_threads
from common.training.chunk_data import chunk_data
from comparison.peers.catalogue import ARMS, BATCH_SIZE, Arm

TWINS = {"torch": torch_impl.__main__, "jax": jax_impl.__main__}
Losses = list[tuple[float, float]]  # of each step: the discriminator's, the generator's
Block = Callable[[int], Losses]


def peer_block(arm: Arm, images: np.ndarray, *, batch_size: int = BATCH_SIZE) -> Block:
    """So many steps of another's training, on uint8 images (N, 28, 28)."""
    steps = importlib.import_module(f"comparison.peers.{arm.module}").steps(images, batch_size=batch_size)

    def block(num_steps: int) -> Losses:
        losses = list(itertools.islice(steps, num_steps))
        return [(float(of_discriminator), float(of_generator)) for of_discriminator, of_generator in losses]

    return block


def our_block(arm: Arm) -> Block:
    """So many steps of ours, as the training loop runs them."""
    framework = TWINS[arm.framework].load_framework()
    framework.configure(num_threads=default_num_threads())
    config = PRESETS[arm.networks].recipe
    assert config.batch_size == BATCH_SIZE
    architecture = build_architecture(config)
    dataset = prepare_dataset(load_dataset(), image_size=config.image_size, train_size=config.train_size)
    device = framework.select_device("cpu")
    trainer = framework.create_trainer(config, architecture, device, dataset.train_images)
    trainer.load_weights(initial_weights(config, architecture))
    order = epoch_permutation(config.seed, 0, len(dataset.train_images))
    num_done = 0

    def block(num_steps: int) -> Losses:
        nonlocal num_done
        start = num_done % (len(order) // BATCH_SIZE - num_steps)
        data = chunk_data(config, order, start, num_steps, first_step=num_done)
        metrics = trainer.train_chunk(*data)
        trainer.wait()
        num_done += num_steps
        return list(zip(metrics.discriminator_loss.tolist(), metrics.generator_loss.tolist(), strict=True))

    return block


def main() -> int:
    """Answer until stdin ends; the first answer, before any number, says that all is built."""
    if len(sys.argv) != 2 or sys.argv[1] not in ARMS:
        raise UserError(f"pass one of {', '.join(ARMS)}")
    arm = ARMS[sys.argv[1]]
    block = peer_block(arm, load_dataset().train_images) if arm.module else our_block(arm)
    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        losses = block(int(line))
        seconds = time.perf_counter() - started
        if not all(math.isfinite(loss) for of_step in losses for loss in of_step):
            raise RunFailedError(f"{arm.title}: a loss is not finite")
        print(seconds, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("comparison.peers.block", main))
