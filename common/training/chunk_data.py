"""What a chunk of steps is given: which images, which latents, and what the generator's average keeps of itself."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from common.config import TrainConfig
from common.data.randomness import epoch_permutation, training_latents
from common.training.averaging import average_decays

CHUNK_SECONDS, MAX_CHUNK_STEPS = 0.04, 512  # on a GPU: a lively bar, a prompt Ctrl-C, and next to no waiting


class ChunkData(NamedTuple):
    """The arguments of `Trainer.train_chunk` for K steps."""

    indices: np.ndarray  # int32 (K, B), of the training images
    latents: np.ndarray  # float32 (K, L, B, Z)
    decays: np.ndarray  # float64 (K,)


def chunk_data(config: TrainConfig, order: np.ndarray, start: int, count: int, *, first_step: int) -> ChunkData:
    """Of steps `start`.. of an epoch that visits the images in this order; the run has made `first_step` before."""
    batch_size = config.batch_size
    chosen = order[start * batch_size : (start + count) * batch_size]
    latents = [
        training_latents(
            config.seed,
            step,
            num_batches=config.latent_batches,
            batch_size=batch_size,
            latent_dim=config.latent_dim,
        )
        for step in range(first_step, first_step + count)
    ]
    decays = average_decays(config.generator_average, first_step=first_step, num_steps=count)
    return ChunkData(chosen.reshape(count, batch_size).astype(np.int32), np.stack(latents), decays)


def epoch_chunks(
    config: TrainConfig, num_images: int, *, first_step: int, length: Callable[[], int]
) -> Generator[ChunkData, None, None]:
    """From `first_step` to the end of its epoch; a thread draws each chunk while the one before it trains.

    `length` is asked for each chunk, when it is begun to be drawn; NumPy draws without holding the interpreter.
    """
    steps_per_epoch = num_images // config.batch_size
    epoch, start = divmod(first_step, steps_per_epoch)
    order = epoch_permutation(config.seed, epoch, num_images)
    with ThreadPoolExecutor(1) as thread:

        def begin(start: int, count: int):
            return thread.submit(chunk_data, config, order, start, count, first_step=epoch * steps_per_epoch + start)

        drawn = begin(start, count := min(length(), steps_per_epoch - start))
        while drawn is not None:
            chunk, start = drawn.result(), start + count
            count = min(length(), steps_per_epoch - start)
            drawn = begin(start, count) if count else None
            yield chunk


def fitting_chunk_steps(seconds_per_step: float) -> int:
    """The largest power of two of such steps that fits into a chunk, which is then of 20 to 40 ms."""
    fitting = min(int(CHUNK_SECONDS / seconds_per_step), MAX_CHUNK_STEPS)
    return 1 << max(fitting, 1).bit_length() - 1
