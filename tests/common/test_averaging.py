"""How fast the generator's average forgets, and the average that trainers are held against."""

import numpy as np
import pytest

from common.training.averaging import GeneratorAverage, average_decays

NAME = "generator.layers.0.weight"


def test_late_in_training_a_step_keeps_the_configured_share():
    np.testing.assert_array_equal(average_decays(0.998, first_step=10_000, num_steps=3), [0.998] * 3)


def test_early_on_its_memory_is_short():
    np.testing.assert_array_equal(average_decays(0.998, first_step=0, num_steps=3), [2 / 11, 3 / 12, 4 / 13])


def test_without_an_average_nothing_is_kept():
    np.testing.assert_array_equal(average_decays(0.0, first_step=7, num_steps=2), [0, 0])


@pytest.mark.parametrize("length", [1, 5, 16])
def test_what_a_step_keeps_does_not_depend_on_how_steps_are_cut_into_chunks(length):
    cut = [average_decays(0.9, first_step=first, num_steps=length) for first in range(0, 80, length)]
    np.testing.assert_array_equal(np.concatenate(cut), average_decays(0.9, first_step=0, num_steps=80))


def test_grey_samples_after_64_steps_are_not_the_initial_weights_of_which_next_to_nothing_is_left():
    assert 0 < np.prod(average_decays(0.998, first_step=0, num_steps=64)) < 1e-6


def test_the_witness_moves_towards_the_weights_by_one_minus_the_decay():
    average = GeneratorAverage({NAME: np.array([0.0])})
    for _ in range(3):
        average.update({NAME: np.array([1.0])}, 0.9)
    np.testing.assert_allclose(average.weights[NAME], 1 - 0.9**3)


def test_the_witness_keeps_equal_weights_exactly_in_float32():
    weights = {NAME: np.linspace(-1, 1, 1000, dtype=np.float32)}
    average = GeneratorAverage(weights)
    for _ in range(100):
        average.update(weights, 0.998)
    np.testing.assert_allclose(average.weights[NAME], weights[NAME], rtol=2e-5)
