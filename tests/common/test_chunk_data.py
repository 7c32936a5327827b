"""What a trainer is given, chunk by chunk, and how long chunks are on a GPU."""

import contextlib
import threading

import numpy as np
import pytest

from common.data.randomness import epoch_permutation, training_latents
from common.records.folder import RunFolder
from common.training import chunk_data as module
from common.training.averaging import average_decays
from common.training.chunk_data import chunk_data, epoch_chunks, fitting_chunk_steps
from common.training.loop import TrainingLoop
from common.training.start import Start
from tests.common.test_loop import Constant, Silent
from tests.trainers import small_config

CONFIG = small_config(batch_size=2)
NUM_IMAGES, STEPS_PER_EPOCH = 15, 7  # the last image of an epoch is in no whole batch


def test_a_chunk_names_its_images_and_holds_the_latents_and_decays_of_its_steps():
    order = epoch_permutation(CONFIG.seed, 2, NUM_IMAGES)
    found = chunk_data(CONFIG, order, 3, 2, first_step=2 * STEPS_PER_EPOCH + 3)
    assert found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.indices, order[6:10].reshape(2, 2))
    for row, step in enumerate((17, 18)):
        expected = training_latents(CONFIG.seed, step, num_batches=1, batch_size=2, latent_dim=CONFIG.latent_dim)
        np.testing.assert_array_equal(found.latents[row], expected)
    np.testing.assert_array_equal(found.decays, average_decays(CONFIG.generator_average, first_step=17, num_steps=2))


@pytest.mark.parametrize("first_step", [0, 3, 7, 12])
@pytest.mark.parametrize("length", [1, 3, 7, 100])
def test_an_epoch_s_chunks_are_its_steps_from_wherever_they_begin(first_step, length):
    found = list(epoch_chunks(CONFIG, NUM_IMAGES, first_step=first_step, length=lambda: length))
    epoch, start = divmod(first_step, STEPS_PER_EPOCH)
    order = epoch_permutation(CONFIG.seed, epoch, NUM_IMAGES)
    whole = chunk_data(CONFIG, order, start, STEPS_PER_EPOCH - start, first_step=first_step)
    for name in whole._fields:
        joined = np.concatenate([getattr(chunk, name) for chunk in found])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert all(len(chunk.indices) == length for chunk in found[:-1])


def test_the_next_chunk_is_drawn_while_one_trains(monkeypatch):
    drawn = threading.Semaphore(0)
    real = module.chunk_data

    def watched(*arguments, **keywords):
        drawn.release()
        return real(*arguments, **keywords)

    monkeypatch.setattr(module, "chunk_data", watched)
    with contextlib.closing(epoch_chunks(CONFIG, NUM_IMAGES, first_step=0, length=lambda: 3)) as stream:
        next(stream)
        assert all(drawn.acquire(timeout=30) for _ in range(2)), "the second is drawn though nobody has asked for it"


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.15e-3, 256), (1e-3, 32), (1.3e-3, 16), (6e-3, 4), (0.5, 1), (1e-6, 512)]
)
def test_a_chunk_on_a_gpu_takes_20_to_40_milliseconds_where_that_many_steps_are_allowed(seconds, steps):
    assert fitting_chunk_steps(seconds) == steps
    assert steps in (1, 512) or 0.02 < steps * seconds <= 0.04


@pytest.mark.parametrize("is_on_cpu", [True, False])
def test_only_a_gpu_s_chunks_change_their_length_and_a_whole_epoch_is_trained(is_on_cpu, tmp_path, monkeypatch):
    monkeypatch.setattr("common.training.loop.fitting_chunk_steps", lambda _: 64)
    trainer = Constant(CONFIG)
    start = Start(trainer.export_weights())
    loop = TrainingLoop(trainer, small_config(batch_size=2, epochs=1), 400, start, RunFolder.create(tmp_path), Silent())
    loop.is_on_cpu = is_on_cpu
    loop.run()
    lengths = [chunk.num_steps for chunk in loop.log.chunks]
    assert sum(lengths) == 200
    assert lengths == ([16] * 12 + [8] if is_on_cpu else [16, 16, 16, 64, 64, 24])
