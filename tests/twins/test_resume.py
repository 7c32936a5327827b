"""A run that is stopped, or handed to the other framework, ends as if nothing had happened."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from common.config import TrainConfig, to_dict
from common.contract import expected_shapes
from common.data.datasets import fit_images
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.records.checkpoint import (
    deserialise,
    list_checkpoints,
    serialise,
)
from common.records.folder import RunFolder
from common.records.origin import find_origin
from common.training.loop import TrainingLoop
from common.training.start import start_of
from common.training.stop_request import StopRequest
from comparison.parity.divergence import relative_l2
from tests.common.test_loop import Recorder, Silent
from tests.common.test_resume import average_of, drawn_weights
from tests.trainers import FRAMEWORKS, build, build_networks, chunk_of, small_architecture, small_config, steps_of


@hypothesis.given(
    preset=strategies.sampled_from(list(PRESETS)),
    width=strategies.integers(1, 5),
    latent_dim=strategies.integers(1, 9),
    image_channels=strategies.sampled_from([1, 3]),
    first=strategies.sampled_from(FRAMEWORKS),
    seed=strategies.integers(0, 2**32 - 1),
)
@hypothesis.settings(max_examples=4, deadline=None, derandomize=True)
def test_any_weights_come_back_bit_exact_through_both_frameworks_and_a_file(
    preset, width, latent_dim, image_channels, first, seed
):
    config = replace(PRESETS[preset].recipe, latent_dim=latent_dim)
    architecture = build_architecture(config, width=width, image_channels=image_channels)
    weights = given = drawn_weights(expected_shapes(architecture), seed)
    average = given_average = average_of(weights)
    for framework in (first, *(name for name in FRAMEWORKS if name != first), first):
        trainer = build_networks(framework, config, architecture)
        trainer.load_weights(weights, average)
        weights, average, _ = deserialise(serialise(trainer.export_weights(), trainer.export_average(), {}))
    assert weights.keys() == given.keys()
    for name, array in given.items():
        assert weights[name].dtype == array.dtype
        assert weights[name].tobytes() == array.tobytes(), name
    assert {name: array.tobytes() for name, array in average.items()} == {
        name: array.tobytes() for name, array in given_average.items()
    }


@pytest.mark.parametrize("preset", ["dcgan32", "dcgan28"])
def test_handing_over_in_float64_is_as_good_as_never_stopping(preset, digits):
    config = small_config(preset, precision="float64")
    chunk = chunk_of(config, num_steps=4)
    uninterrupted = {}
    for framework in FRAMEWORKS:
        trainer = build(framework, config)
        trainer.train_chunk(*chunk)
        uninterrupted[framework] = trainer.export_weights()
    for first, second in (FRAMEWORKS, FRAMEWORKS[::-1]):
        begun, ended = build(first, config), build(second, config)
        begun.train_chunk(*steps_of(chunk, 0, 2))
        ended.load_weights(begun.export_weights())
        ended.train_chunk(*steps_of(chunk, 2, 4))
        for weights in uninterrupted.values():
            for name, array in ended.export_weights().items():
                assert relative_l2(array, weights[name]) < 1e-12, name


def interrupted_run(
    folder: Path, framework: str, config: TrainConfig, images: np.ndarray, *, after_chunks: int | None
) -> RunFolder:
    """A run that is told to stop after so many chunks, or resumed to its end."""
    stop = StopRequest()
    chunks: Iterator[int] = iter(range(1, 1000))

    def on_chunk() -> None:
        if next(chunks) == after_chunks:
            stop.signal_number = 2

    run = RunFolder.reopen(folder) if folder.exists() else RunFolder.create(folder)
    run.write_json("config.json", to_dict(config))
    architecture = small_architecture(config)
    origin = find_origin(folder) if list_checkpoints(folder / "checkpoints") else None
    start, _ = start_of(origin, config, architecture, steps_per_epoch=len(images) // config.batch_size)
    trainer = build(framework, config, images=images)
    trainer.load_weights(start.weights, start.average)
    recorder: Any = Recorder(trainer, on_chunk=on_chunk)
    TrainingLoop(recorder, config, len(images), start, run, Silent(), stop).run()
    run.unlock()
    return run


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_stopped_twice_and_resumed_leaves_the_bytes_of_one_that_was_not(framework, digits, tmp_path):
    config = small_config(batch_size=8, epochs=3)
    images = fit_images(digits[: 8 * 20], config.image_size)  # chunks of 16 and 4 steps
    whole, parts = tmp_path / "whole" / framework, tmp_path / "parts" / framework
    interrupted_run(whole, framework, config, images, after_chunks=None)
    for after_chunks in (1, 2, None):
        interrupted_run(parts, framework, config, images, after_chunks=after_chunks)
    names = ["losses.csv", "epochs.csv", "progress.npz", "checkpoints/step_60.safetensors"]
    names += [f"samples/epoch_{epoch:03d}.png" for epoch in range(4)]
    for name in names:
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
