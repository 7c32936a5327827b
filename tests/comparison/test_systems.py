"""The tables of docs/systems, of synthetic records."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from common.config import to_dict
from common.errors import UserError
from common.networks.presets import PRESETS
from common.records.folder import read_json
from comparison.publish import systems, systems_tables
from scripts.train_systems import Options, check_recorded

FLOORS = {28: 0.25, 64: 0.5}


def record(preset: str = "seed004", *, images_per_second: float = 600.0, distance: float = 2.0, **changes: Any) -> dict:
    """Three epochs, the second the worst."""
    epochs = [{"generator_loss": loss, "discriminator_loss": 0.5, "fake_score": 0.2} for loss in (2.0, 2.0, 3.0)]
    metrics = ("frechet_distance", "coverage", "mnist_score", "class_kl", "precision", "smallest_class")
    return {
        "config": asdict(replace(PRESETS[preset].recipe, epochs=3, **changes)),
        "images_per_second": [images_per_second / 2, images_per_second, images_per_second * 2],
        "epochs": epochs,
        "quick_quality": [{"frechet_distance": distance * factor} for factor in (1, 3, 2)],
        "metrics": {name: {"value": distance, "floor": FLOORS[PRESETS[preset].recipe.image_size]} for name in metrics},
        "first_steps": [
            {"step": step, "real_score": step / 1000, "fake_score": step / 2000, "generator_loss": 1.0}
            for step in systems_tables.FIRST_STEPS
        ],
    }


def cells(table: str, head: str) -> list[str]:
    """The row that begins so."""
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {head}"))
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def test_a_system_shows_both_frameworks_and_real_digits_below_what_its_author_reports():
    records = {"seed004": {"torch": record(distance=2.0), "jax": record(distance=4.0, images_per_second=300.0)}}
    shown = systems_tables.results(records, ["seed004"])
    assert "- Its author reports: 11 min an epoch" in shown
    assert "- Trained here: 3 epochs, float32." in shown
    assert cells(shown, "Coverage")[1:] == ["2", "4", "0.250"]
    assert cells(shown, "seconds an epoch")[1:3] == ["99.9", "200"], "59,968 images at 600 and at 300 a second"


def test_what_was_shortened_is_said():
    shown = systems_tables.results({"seed004": {"torch": record(precision="bfloat16", train_size=12_000)}}, ["seed004"])
    assert "- Trained here: 3 epochs of 12,000 images, bfloat16." in shown
    assert cells(shown, "seconds an epoch")[1:3] == ["99.9", "-"], "of all images, and nothing of JAX"


def test_an_untrained_system_shows_its_recipe_and_no_number():
    shown = systems_tables.results({}, ["seed003"])
    assert "Recipe: 10 epochs, batch 128." in shown
    assert "Its author reports: no number." in shown
    assert "Trained here: not yet." in shown


def test_the_overview_has_a_row_a_system_and_a_floor_for_each_size_of_image():
    table = systems_tables.overview_table({"seed004": {"torch": record()}, "seed000": {"jax": record("seed000")}})
    assert cells(table, "`seed004`")[1:] == ["3 epochs, float32", "2", "-"]
    for size, floor in ((28, "0.250"), (64, "0.500")):
        assert cells(table, f"real digits, {size} px")[2:4] == [floor] * 2


def test_equal_networks_are_listed_once_and_one_in_colour_has_three_channels():
    grey = systems_tables.networks(["seed003", "seed004", "seed004-ttur"])
    assert (
        "discriminator: Conv 1-64 k4 s2 p1 + LReLU; Conv 64-128-256 k4 s2 p1 + BN + LReLU; Conv 256-1 k4 s2 p1" in grey
    )
    assert "parameters (G / D): 3,573,696 / 661,248" in grey
    assert grey.count("- generator: ") == 2
    assert "`seed004`, `seed004-ttur`:" in grey
    colour = systems_tables.networks(["paper64-rgb"])
    assert "ConvT 128-3 k4 s2 p1 + tanh\n" in colour
    assert "discriminator: Conv 3-128 k4 s2 p1 + LReLU" in colour


@pytest.mark.parametrize("page", systems.pages({}))
def test_no_table_is_too_wide_for_a_phone(page):
    for content in systems.pages(read_json(systems.RECORDS))[page].values():
        assert all(line.count(" | ") < 6 for line in content.splitlines())


def test_a_recipe_names_what_differs_from_the_papers():
    assert systems_tables.recipe(PRESETS["seed000"].recipe) == "10 epochs, batch 128"
    assert systems_tables.recipe(PRESETS["seed004-ttur"].recipe) == (
        "16 epochs, batch 64, D at 0.0001, 2 G updates, fresh latents for G"
    )


def test_how_a_generator_grows_and_what_is_normalised_come_from_its_layers():
    gan, dcgan = (systems_tables.architecture_of_preset(preset) for preset in ("seed004-mlp", "seed004"))
    assert systems_tables.upsampling(gan.generator) == "1 to 28 px, by one Linear layer"
    assert systems_tables.upsampling(dcgan.generator) == "1 to 7 to 14 to 28 px, by transposed convolutions"
    assert systems_tables.normalisation(gan) == "BatchNorm after 0 of 4 / 0 of 4 layers"
    assert systems_tables.normalisation(dcgan) == "BatchNorm after 3 of 4 / 2 of 4 layers"


@pytest.mark.parametrize(
    ("distances", "relapse"),
    [([9.0, 4.0, 2.0, 1.0], 1.0), ([4.0, 2.0, 3.0, 1.0], 1.5), ([3.0, 6.0], 2.0), ([3.0], 1.0)],
    ids=["always better", "once worse", "never better", "one epoch"],
)
def test_a_relapse_is_measured_from_the_best_epoch_before_it(distances, relapse):
    run = record() | {"quick_quality": [{"frechet_distance": distance} for distance in distances]}
    assert systems_tables.worst_relapse(run) == pytest.approx(relapse)


def test_a_run_that_could_not_be_scored_has_no_stability_and_a_dash_for_its_distance():
    run = record() | {"quick_quality": [{}, {}, {}]}
    assert systems_tables.worst_relapse(run) is None
    rows = systems_tables.trajectory_table({"torch": run}).splitlines()[2:]
    assert [row.endswith("| - |") for row in rows] == [True] * 3


def test_the_last_change_of_a_loss_needs_two_epochs():
    run = record()
    assert systems_tables.last_change(run) == pytest.approx(0.5)
    assert systems_tables.last_change(run | {"epochs": run["epochs"][:1]}) is None


def test_the_gan_and_the_dcgan_say_how_each_was_trained():
    records = {
        "seed004-mlp": {"torch": record("seed004-mlp")},
        "seed004": {"torch": record(precision="bfloat16")},
    }
    tables = systems_tables.gan_against_dcgan(records)
    assert cells(tables, "trained") == ["trained", "3 epochs, float32", "3 epochs, bfloat16"]
    assert cells(tables, "stability: Fréchet")[1:] == ["3", "-", "3", "-"]


def test_frameworks_that_were_not_trained_alike_are_refused():
    records = {"seed004": {"torch": record(), "jax": record(precision="bfloat16")}}
    with pytest.raises(UserError, match="seed004 was trained in two ways"):
        systems_tables.overview_table(records)


def test_epochs_stand_below_each_other_and_an_untrained_preset_is_left_out():
    tables = systems_tables.trajectories({"seed004": {"torch": record()}}, ["seed004", "seed001"])
    assert "seed001" not in tables
    rows = [line.split(" | ")[:3] for line in tables.splitlines() if "PyTorch" in line]
    assert rows == [["| 1", "PyTorch", "2"], ["| 2", "PyTorch", "2"], ["| 3", "PyTorch", "3"]]


def test_of_a_long_run_every_fourth_epoch_and_the_last_are_shown():
    run = record()
    long_run = run | {"quick_quality": [{"frechet_distance": 1.0}] * 14, "epochs": run["epochs"][:1] * 14}
    table = systems_tables.trajectory_table({"torch": long_run, "jax": long_run})
    shown = [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]
    assert shown == [epoch for epoch in ("1", "2", "3", "4", "5", "8", "12", "14") for _ in ("PyTorch", "JAX")]


def test_the_first_steps_are_pytorchs():
    tables = systems_tables.first_steps(
        {"seed004": {"torch": record()}, "seed001": {"jax": record()}}, ["seed004", "seed001"]
    )
    assert "seed001" not in tables
    assert cells(tables, "10 |")[1:] == ["0.010", "0.0050", "1"]


@pytest.mark.parametrize(
    "change",
    [{"epochs": 4}, {"precision": "bfloat16"}, {"initialization": "uniform"}],
    ids=lambda change: next(iter(change)),
)
def test_a_record_of_other_flags_or_of_an_earlier_preset_is_not_taken_for_this_one(change, tmp_path, capsys):
    options = Options(preset="seed004", epochs=5)
    config = to_dict(replace(PRESETS["seed004"].recipe, epochs=5))
    (tmp_path / "record.json").write_text(json.dumps({"config": config}))
    check_recorded(tmp_path, options)
    assert "left alone" in capsys.readouterr().out
    (tmp_path / "record.json").write_text(json.dumps({"config": config | change}))
    with pytest.raises(UserError, match=next(iter(change))):
        check_recorded(tmp_path, options)
