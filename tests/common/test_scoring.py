"""What a run asks of its trainer to be scored."""

import numpy as np

import common.training.scoring
from common.training.scoring import sample
from tests.common.test_loop import Constant
from tests.trainers import small_config


def test_draws_differ_and_a_draw_is_the_same_whoever_makes_it(monkeypatch):
    monkeypatch.setattr(common.training.scoring, "NUM_STANDARD", 20)
    config = small_config()
    first, second, again = (sample(Constant(config), config, draw=draw) for draw in (0, 1, 1))
    assert not np.array_equal(first.latents, second.latents)
    np.testing.assert_array_equal(again.latents, second.latents)
    np.testing.assert_array_equal(again.images, second.images)
