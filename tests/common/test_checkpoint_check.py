"""A checkpoint that a run could not go on from is refused before anything is written, by the name of what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config import to_dict
from common.contract import Weights, expected_shapes
from common.errors import UserError
from common.records.checkpoint import load_checkpoint, save_checkpoint, serialise
from tests.common.test_resume import STEPS_PER_EPOCH, average_of, drawn_weights, start
from tests.trainers import small_architecture, small_config

CONFIG = small_config(generator_updates=2, epochs=3)
STEP = 45
FIRST = "generator.layers.0.weight"


def checkpoint(
    folder: Path, *, weights: Weights | None = None, average: Weights | None = None, **header: object
) -> Path:
    """A checkpoint of step 45, in the third epoch, with these tensors and header fields changed."""
    given = drawn_weights(expected_shapes(small_architecture(CONFIG)), 0, step=STEP)
    given["generator.adam.step"] = np.array(STEP * CONFIG.generator_updates)
    fields: dict[str, Any] = {"config": to_dict(CONFIG), "epoch": 2, **header}
    averaged = average_of(given) if average is None else average
    return save_checkpoint(folder, given | (weights or {}), averaged, step=STEP, header=fields)


def average() -> Weights:
    """The average of a sound checkpoint."""
    return average_of(drawn_weights(expected_shapes(small_architecture(CONFIG)), 0))


def test_a_sound_checkpoint_is_accepted(tmp_path):
    assert start(checkpoint(tmp_path), CONFIG)[0].step == STEP


BAD_AVERAGES: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "a missing tensor": (lambda a: {n: x for n, x in a.items() if n != FIRST}, f"average.{FIRST} is missing"),
    "an empty average": (lambda a: {}, f"average.{FIRST} is missing"),
    "an unknown tensor": (
        lambda a: a | {"generator.layers.99.weight": np.zeros(3, np.float32)},
        "average.generator.layers.99.weight is unknown",
    ),
    "a tensor of the discriminator": (
        lambda a: a | {"discriminator.layers.0.weight": np.zeros((4, 1, 4, 4), np.float32)},
        "average.discriminator.layers.0.weight is unknown",
    ),
    "NaN": (lambda a: a | {FIRST: a[FIRST] * np.float32(np.nan)}, f"average.{FIRST} holds NaN"),
    "another shape": (
        lambda a: a | {FIRST: np.zeros((3, 3), np.float32)},
        rf"average.{FIRST} has shape \(3, 3\)",
    ),
    "a scalar": (lambda a: a | {FIRST: np.array(1, np.float32)}, rf"average.{FIRST} has shape \(\)"),
    "another type": (lambda a: a | {FIRST: a[FIRST].astype(np.int64)}, f"average.{FIRST} is int64"),
}


@pytest.mark.parametrize("case", BAD_AVERAGES)
def test_an_average_that_is_not_the_generators_is_refused_naming_the_tensor(case, tmp_path):
    change, said = BAD_AVERAGES[case]
    with pytest.raises(UserError, match=said):
        start(checkpoint(tmp_path, average=change(average())), CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (FIRST, np.nan, "holds NaN or infinity"),
        (f"{FIRST}.adam.exp_avg", np.inf, "holds NaN or infinity"),
        (f"{FIRST}.adam.exp_avg_sq", -1, "holds a number below 0"),
        ("generator.layers.1.running_var", -1, "holds a number below 0"),
    ],
)
def test_a_number_no_training_leaves_is_refused_naming_the_tensor(name, value, said, tmp_path):
    shape = expected_shapes(small_architecture(CONFIG))[name]
    with pytest.raises(UserError, match=f"{name} {said}"):
        start(checkpoint(tmp_path, weights={name: np.full(shape, value, np.float32)}), CONFIG)


def with_header(folder: Path, **header: object) -> Path:
    """A checkpoint whose header says something else; `save_checkpoint` would put its own step there."""
    path = checkpoint(folder)
    weights, averaged, found = load_checkpoint(path)
    del found["format_version"]
    fields = {name: value for name, value in {**found, **header}.items() if value is not ...}
    path.write_bytes(serialise(weights, averaged, fields))
    return path


@pytest.mark.parametrize("name", ["step", "epoch"])
@pytest.mark.parametrize("value", [-5, 64.7, "64", True, None, [1], {"a": 1}, ..., "x\x1b[31m"], ids=repr)
def test_a_count_that_is_no_count_is_refused(name, value, tmp_path):
    with pytest.raises(UserError, match=f"its header holds no {name}") as info:
        start(with_header(tmp_path, **{name: value}), CONFIG)
    assert str(info.value).isprintable()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"step": 2**62}, f"but 3 epochs end at step {3 * STEPS_PER_EPOCH}"),
        ({"step": 61}, f"but 3 epochs end at step {3 * STEPS_PER_EPOCH}"),
        ({"step": 44}, "discriminator.adam.step is 45, but 44 steps make 44 updates"),
        ({"epoch": 3}, "takes more than its 45 steps"),
        ({"epoch": 2**62}, "takes more than its 45 steps"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(header, said, tmp_path):
    with pytest.raises(UserError, match=said):
        start(with_header(tmp_path, **header), CONFIG)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
@pytest.mark.parametrize("count", [-5, STEP + 1, 2**40])
def test_an_optimizer_that_counted_otherwise_is_refused(network, count, tmp_path):
    name = f"{network}.adam.step"
    with pytest.raises(UserError, match=f"{name} is {count}, but 45 steps make"):
        start(checkpoint(tmp_path, weights={name: np.array(count)}), CONFIG)


def test_more_updates_than_a_framework_can_count_are_refused(tmp_path):
    config = small_config(epochs=2**30)
    weights = drawn_weights(expected_shapes(small_architecture(config)), 0, step=2**31)
    header = {"config": to_dict(config), "epoch": 0}
    path = save_checkpoint(tmp_path, weights, average_of(weights), step=2**31, header=header)
    with pytest.raises(UserError, match="more than the 2147483647 updates"):
        start(path, config)
