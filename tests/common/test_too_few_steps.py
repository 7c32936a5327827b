"""What is said of samples that are grey because a run was trained for too short, by their greyness and its steps."""

import numpy as np
import pytest

from common.evaluation.plausibility import ENOUGH_STEPS, too_few_steps
from tests.counting import FLAGS, run


def grey(level: int = 110, num: int = 100) -> np.ndarray:
    """Noise around a level, as a generator makes it at first."""
    return np.random.default_rng(0).integers(level - 30, level + 30, (num, 28, 28), dtype=np.uint8)


def on_ground(digits: np.ndarray, level: int) -> np.ndarray:
    return np.maximum(digits, np.uint8(level))


def note(samples: np.ndarray, real: np.ndarray | None, *, step: int = 64, steps_per_epoch: int | None = 64) -> str:
    return too_few_steps(samples, real, step=step, steps_per_epoch=steps_per_epoch)


def test_grey_samples_of_64_steps_are_said_to_be_of_too_few_and_how_many_would_do(digits):
    assert note(grey(), digits[:100]) == (
        "64 steps are too few: 100 % of the samples are grey (real images: 0 %). Train for about 2,000, with --epochs "
        "32."
    )
    assert note(grey(), None, step=1_999, steps_per_epoch=None) == (
        "1,999 steps are too few: 100 % of the samples are grey (real images: 0 %). Train for about 2,000."
    )
    assert note(grey(), None, steps_per_epoch=937).endswith("with --epochs 3.")


def test_digits_on_a_grey_ground_are_not_learnt_yet_either(digits):
    said = note(on_ground(digits[:100], 60), digits[:100], step=500)
    assert "500 steps are too few: 100 % of the samples have a grey ground (real images: 0 %)." in said
    half = np.concatenate([digits[:50], on_ground(digits[50:100], 60)])
    assert "50 % of the samples have a grey ground" in note(half, digits[:100])


def test_nothing_is_said_of_digits_on_black_nor_of_greyness_that_has_had_steps_enough(digits):
    assert note(digits[:100], digits[100:200]) == ""
    assert note(digits[:100], None) == ""
    assert note(grey(), digits[:100], step=ENOUGH_STEPS) == ""


def test_images_whose_real_ones_are_as_grey_are_left_in_peace(digits):
    real = on_ground(digits[:100], 60)
    assert note(real, real) == ""
    assert "100 % of the samples are grey (real images: 0 %)" in note(grey(), real)
    assert note(grey(), grey()) == ""


@pytest.mark.parametrize("channel", range(3))
def test_colours_are_judged_by_their_light(channel, digits):
    colours = np.stack([digits[:100]] * 3, axis=-1)
    assert note(colours, colours) == ""
    tinted = np.stack([grey()] * 3, axis=-1)
    tinted[..., channel] //= 2
    assert "100 % of the samples are grey" in note(tinted, colours)


def test_a_run_of_few_steps_says_so_on_the_terminal(tmp_path, capsys):
    assert run("torch", *FLAGS, "--epochs=1", f"--output={tmp_path / 'short'}") == 0
    said = "PyTorch: 32 steps are too few: 100 % of the samples are grey (real images: 0 %). Train for about 2,000"
    assert f"{said}, with --epochs 63." in capsys.readouterr().out
