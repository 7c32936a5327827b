"""The generator's average is the textbook one, never touches training, and is the same in both frameworks."""

import numpy as np

from common.training.averaging import GeneratorAverage

NAME = "generator.layers.0.weight"


def test_it_moves_towards_the_weights_by_one_minus_the_decay():
    average = GeneratorAverage(0.9, {NAME: np.array([0.0])})
    for step in range(1000, 1003):
        average.update({NAME: np.array([1.0])}, step=step, num_steps=1)
    np.testing.assert_allclose(average.weights[NAME], 1 - 0.9**3)


def test_one_update_for_a_chunk_forgets_as_much_as_one_a_step():
    average = GeneratorAverage(0.9, {NAME: np.array([0.0])})
    average.update({NAME: np.array([1.0])}, step=1000, num_steps=16)
    np.testing.assert_allclose(average.weights[NAME], 1 - 0.9**16)


def test_early_on_its_memory_is_short():
    average = GeneratorAverage(0.998, {NAME: np.array([0.0])})
    average.update({NAME: np.array([1.0])}, step=16, num_steps=16)
    np.testing.assert_allclose(average.weights[NAME], 1 - (17 / 26) ** 16)


def test_a_decay_of_zero_is_the_last_weights_exactly():
    last = np.array([0.1, -0.3], np.float32)
    average = GeneratorAverage(0.0, {NAME: np.ones(2, np.float32)})
    average.update({NAME: last}, step=500, num_steps=1)
    np.testing.assert_array_equal(average.weights[NAME], last)


def test_grey_samples_after_64_steps_are_not_the_initial_weights_of_which_next_to_nothing_is_left():
    name = "generator.layers.0.weight"
    average = GeneratorAverage(0.998, {name: np.ones(1)})
    for step in range(16, 65, 16):
        average.update({name: np.zeros(1)}, step=step, num_steps=16)
    assert 0 < average.weights[name][0] < 1e-6
