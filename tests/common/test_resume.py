"""Checkpoints hold everything and show every damage; a run goes on from them in either framework, or says why not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.config import TrainConfig, to_dict
from common.contract import Weights, expected_shapes, is_averaged
from common.data.datasets import fit_images
from common.errors import UserError
from common.networks.build import build_architecture
from common.networks.layers import Architecture
from common.options import RunOptions, parse
from common.records.checkpoint import (
    checkpoint_header,
    load_checkpoint,
    load_newest,
    save_checkpoint,
    serialise,
)
from common.records.checkpoint_check import NEVER_NEGATIVE
from common.records.folder import RunFolder
from common.records.origin import check_same_config, find_origin
from common.records.series import LOSSES_HEADER, read_losses, read_progress
from common.training.loop import TrainingLoop
from common.training.start import Start, start_of
from tests.common.test_loop import Constant, Silent
from tests.trainers import small_architecture, small_config

STEPS_PER_EPOCH = 20


def drawn_weights(shapes: dict[str, tuple[int, ...]], seed: int, *, step: int = 7) -> Weights:
    draw = np.random.default_rng(seed)
    weights = {
        name: np.array(step, np.int64) if name.endswith(".step") else draw.standard_normal(shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    return {name: abs(array) if name.endswith(NEVER_NEGATIVE) else array for name, array in weights.items()}


def average_of(weights: Weights) -> Weights:
    """Another generator, as the average is."""
    return {name: array / 2 for name, array in weights.items() if is_averaged(name)}


def start(path: Path, config: TrainConfig, architecture: Architecture | None = None) -> tuple[Start, list[str]]:
    """Where a run of small networks begins that resumes what is at `path`."""
    architecture = architecture or small_architecture(config)
    return start_of(find_origin(path), config, architecture, steps_per_epoch=STEPS_PER_EPOCH)


def test_equal_runs_leave_equal_checkpoints_and_the_header_says_where_they_come_from(tmp_path):
    config = small_config()
    weights = drawn_weights(expected_shapes(small_architecture(config)), 0)
    header = checkpoint_header(config, framework="jax", epoch=3)
    assert serialise(weights, {}, header) == serialise(weights, {}, header)
    found = load_checkpoint(save_checkpoint(tmp_path, weights, {}, step=9, header=header)).header
    assert (found["format_version"], found["preset"], found["step"], found["epoch"]) == (3, "dcgan32", 9, 3)
    assert found["framework"] == "jax"
    assert found["config"] == to_dict(config)
    assert len(found["config_hash"]) == 64
    assert {"torch", "jax", "flax", "optax"} <= found["versions"].keys()


def test_a_bit_flipped_anywhere_is_noticed_and_the_checkpoint_before_it_is_used(tmp_path):
    config = small_config()
    weights = drawn_weights(expected_shapes(small_architecture(config)), 0)
    for step in (1, 2):
        newest = save_checkpoint(tmp_path, weights, {}, step=step, header={"epoch": step})
    content = newest.read_bytes()
    places = {int(share * (len(content) - 1)) for share in np.linspace(0, 1, 101)} | set(range(0, 2500, 7))
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        newest.write_bytes(damaged)
        found, sentences = load_newest(tmp_path)
        assert found is not None, place
        assert found.header["step"] == 1, place
        assert str(newest) in sentences[0]
    for length in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        newest.write_bytes(content[:length])
        assert load_newest(tmp_path)[0].header["step"] == 1, length  # pyright: ignore[reportOptionalMemberAccess]


def saved_run(folder: Path, config: TrainConfig, *, steps: int = 0) -> Path:
    run = RunFolder.create(folder)
    run.write_json("config.json", to_dict(config))
    if steps:
        weights = drawn_weights(expected_shapes(small_architecture(config)), 0, step=steps)
        header = {"config": to_dict(config), "epoch": 0}
        save_checkpoint(folder / "checkpoints", weights, average_of(weights), step=steps, header=header)
    run.unlock()
    return folder


@pytest.mark.parametrize("edit", [{"seed": 5}, {"learning_rate_generator": 1e-3}], ids=repr)
def test_a_run_whose_config_was_edited_is_not_resumed_as_another(edit, tmp_path):
    config = small_config()
    run = saved_run(tmp_path / "torch", config, steps=1)
    (run / "config.json").write_text(json.dumps(to_dict(replace(config, **edit))))
    ((name, value),) = edit.items()
    said = rf"config\.json was edited .* \({name} is {value}, was {getattr(config, name)}\)"
    with pytest.raises(UserError, match=said):
        start(run, replace(config, **edit))


def test_a_run_without_a_checkpoint_starts_over_and_one_without_an_intact_checkpoint_is_refused(tmp_path):
    config = small_config()
    run = saved_run(tmp_path / "torch", config)
    assert start(run, config)[0].step == 0
    (run / "checkpoints" / "step_5.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"step_5\.safetensors.*no checkpoint of .* is intact"):
        start(run, config)


def test_records_that_do_not_reach_the_checkpoint_are_refused(tmp_path):
    config = small_config()
    run = saved_run(tmp_path / "torch", config, steps=5)
    (run / "losses.csv").write_text("step,epoch,discriminator_loss,generator_loss,real_score,fake_score\n1,1,2,3,4,5\n")
    with pytest.raises(UserError, match=r"losses\.csv lacks steps up to 5"):
        start(run, config)
    (run / "losses.csv").write_bytes(b"\xff\x00,")
    with pytest.raises(UserError, match=r"losses\.csv cannot be read"):
        start(run, config)


def test_a_checkpoint_of_other_networks_is_refused_naming_the_tensor(tmp_path):
    config = small_config()
    run = saved_run(tmp_path / "torch", config, steps=5)
    checkpoint = run / "checkpoints" / "step_5.safetensors"
    with pytest.raises(UserError, match=r"generator\.layers\.0\.weight has shape"):
        start(checkpoint, config, build_architecture(config, width=8))


def test_only_epochs_may_change_and_only_grow(tmp_path):
    config = small_config(epochs=3)
    origin = find_origin(saved_run(tmp_path / "torch", config))
    check_same_config(replace(config, epochs=5), origin)
    with pytest.raises(UserError, match=r"another batch_size \(8 / 9\), seed \(0 / 1\)"):
        check_same_config(replace(config, batch_size=9, seed=1), origin)
    with pytest.raises(UserError, match="--epochs can only grow"):
        check_same_config(replace(config, epochs=2), origin)


def test_resuming_takes_the_configuration_of_the_run(tmp_path):
    config = small_config("smoke", epochs=3, seed=4)
    saved_run(tmp_path / "torch", config)
    for path in (tmp_path, tmp_path / "torch"):
        options = parse(RunOptions, [f"--resume={path}", "--epochs=7"], program="")
        assert options.config == replace(config, epochs=7)


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_what_holds_no_run_is_refused(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("{}")
    with pytest.raises(UserError, match=str(tmp_path / name)):
        find_origin(tmp_path / name)


def test_a_folder_in_use_is_refused_to_a_second_run(tmp_path):
    run = RunFolder.create(tmp_path / "torch")
    run.write_json("config.json", {})
    with pytest.raises(UserError, match="in use by another run"):
        RunFolder.reopen(tmp_path / "torch")
    with pytest.raises(UserError, match="already holds a run"):
        RunFolder.create(tmp_path / "torch")
    run.unlock()
    RunFolder.reopen(tmp_path / "torch").unlock()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    run = saved_run(tmp_path / "torch", small_config())
    for name in (".losses.csv.12.tmp", "checkpoints/.step_3.safetensors.12.tmp"):
        (run / name).write_bytes(b"half")
    RunFolder.reopen(run).unlock()
    assert list(run.rglob("*.tmp")) == []


def test_a_run_killed_before_it_wrote_anything_can_be_started_again_in_its_folder(tmp_path):
    RunFolder.create(tmp_path / "torch").unlock()
    RunFolder.create(tmp_path / "torch").unlock()


def test_a_start_from_a_bare_checkpoint_counts_its_steps_on(digits, tmp_path):
    config = small_config(epochs=2)
    images = fit_images(digits[: 8 * 4], config.image_size)
    trainer = Constant(config)
    start = Start(trainer.export_weights(), step=4)
    loop = TrainingLoop(trainer, config, len(images), start, RunFolder.create(tmp_path / "torch"), Silent())
    loop.run()
    assert [row[:2] for row in loop.log.losses] == [(5, 2), (6, 2), (7, 2), (8, 2)]
    with np.load(tmp_path / "torch" / "progress.npz") as progress:
        assert progress["epochs"].tolist() == [2]


PROGRESS = {"epochs": np.arange(3), "images": np.zeros((3, 64, 32, 32), np.uint8)}


@pytest.mark.parametrize(
    ("arrays", "accepted"),
    [
        (PROGRESS, 3),
        ({**PROGRESS, "epochs": np.arange(1, 4)}, 2),  # of a run that began at a checkpoint of the first epoch
        ({**PROGRESS, "epochs": np.arange(4, 7)}, None),
        ({**PROGRESS, "epochs": np.arange(2)}, None),
        ({**PROGRESS, "images": np.zeros((3, 64, 28, 28), np.uint8)}, None),
        ({**PROGRESS, "images": np.zeros((3, 9, 32, 32), np.uint8)}, None),
        ({**PROGRESS, "images": np.zeros((3, 64, 32, 32, 3), np.uint8)}, None),
    ],
)
def test_pictures_are_taken_up_to_the_epoch_and_refused_if_they_are_not_of_this_run(arrays, accepted, tmp_path):
    path = tmp_path / "progress.npz"
    np.savez(path, **arrays)
    if accepted is None:
        with pytest.raises(ValueError, match=r"cannot be read"):
            read_progress(path).up_to(2, image_shape=(32, 32))
    else:
        assert len(read_progress(path).up_to(2, image_shape=(32, 32))) == accepted


@pytest.mark.parametrize(
    "rows",
    ["1,1,2,3,4,5\n3,1,2,3,4,5\n", "1,1,2,3\n", "1,9,2,3,4,5\n", "1,1,x,3,4,5\n", "\n"],
)
def test_losses_that_do_not_count_are_refused(rows, tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text(f"{','.join(LOSSES_HEADER)}\n{rows}")
    with pytest.raises(ValueError, match=r"losses\.csv cannot be read"):
        read_losses(path)
