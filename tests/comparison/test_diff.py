"""`compare.py diff` names the tensor and the layer in which a difference was planted, whatever the frameworks."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.commands import trained_model
from common.config import TrainConfig, to_dict
from common.contract import Weights
from common.data.initial_weights import initial_weights
from common.data.randomness import fixed_latents
from common.errors import UserError, report_errors
from common.networks.build import build_architecture
from common.records.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint, serialise
from comparison.commands.diff import MAX_LATENTS
from comparison.commands.dispatch import PROGRAM, run_command
from tests.trainers import FRAMEWORKS, build, chunk_of, small_architecture, small_config

CONFIG = small_config()
NUM_TENSORS = 82
PAIRS = [("torch", "torch"), ("torch", "jax"), ("jax", "torch"), ("jax", "jax")]


def some_weights(config: TrainConfig = CONFIG, **architecture: Any) -> Weights:
    """The initial weights, with running statistics and biases that are not 0 or 1."""
    weights = initial_weights(config, small_architecture(config, **architecture))
    draw = np.random.default_rng(0)
    return {
        name: array if ".adam." in name else (array + draw.uniform(0.05, 0.15, array.shape)).astype(array.dtype)
        for name, array in weights.items()
    }


def write_run(
    folder: Path, weights: Weights, *, framework: str = "torch", config: TrainConfig = CONFIG, step: int = 1
) -> Path:
    """A run folder with one checkpoint, whose average is the generator."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    average = {name: array for name, array in weights.items() if name.startswith("generator.") and "adam" not in name}
    header = {"config": to_dict(config), "epoch": 1, "framework": framework}
    save_checkpoint(folder / "checkpoints", weights, average, step=step, header=header)
    return folder


def changed(weights: Weights, name: str, factor: float = 1.1) -> Weights:
    """A copy with one tensor scaled, or moved by 1 where it is zero."""
    array = weights[name]
    return weights | {name: np.asarray(array * factor if array.any() else array + 1, array.dtype)}


@pytest.fixture
def diff(tmp_path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs the command; returns its exit code and what it wrote as JSON."""

    def run(first: Path, second: Path, *flags: str) -> tuple[int, dict[str, Any]]:
        result = tmp_path / "diff.json"
        code = run_command(["diff", str(first), str(second), f"--json={result}", *flags])
        return code, json.loads(result.read_text())

    return run


def test_equal_checkpoints_are_identical_whichever_framework_wrote_them(diff, tmp_path, capsys):
    runs = [write_run(tmp_path / name, some_weights(), framework=name) for name in FRAMEWORKS]
    code, found = diff(*runs)
    assert code == 0
    assert found["identical"]
    assert found["tensors"] == []
    assert found["first_difference"] is found["first_divergence"] is found["activations"] is None
    assert len(found["identical_tensors"]) == NUM_TENSORS
    assert "82 of 82 tensors are identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        "discriminator.layers.5.weight",
        "generator.layers.4.running_var",
        "discriminator.layers.3.bias.adam.exp_avg_sq",
        "generator.adam.step",
    ],
)
def test_the_one_tensor_that_differs_is_the_one_named(name, diff, tmp_path, capsys):
    weights = some_weights()
    first = write_run(tmp_path / "a", weights)
    second = write_run(tmp_path / "b", changed(weights, name))
    code, found = diff(first, second)
    expected = {name, f"average.{name}"} if name.startswith("generator.layers") else {name}
    assert code == 1
    assert {tensor["name"] for tensor in found["tensors"]} == expected
    assert found["first_difference"]["name"] == found["first_divergence"]["name"] == name
    assert len(found["identical_tensors"]) == NUM_TENSORS - len(expected)
    assert all(
        tensor["error"] == pytest.approx(0.1, rel=1e-3) or "adam" in tensor["name"] for tensor in found["tensors"]
    )
    assert f"first differ at {name} (" in capsys.readouterr().out


def test_the_table_lists_the_furthest_first_and_cuts_no_name_short(diff, tmp_path, capsys, monkeypatch):
    furthest_first = {
        "discriminator.layers.8.weight.adam.exp_avg_sq": 16,  # from 0 to 1: the root of its 256 elements
        "discriminator.layers.6.running_mean": 2,
        "discriminator.layers.0.weight": 0.001,
    }
    weights = planted = some_weights()
    for name, error in furthest_first.items():
        planted = changed(planted, name, 1 + error)
    _, found = diff(write_run(tmp_path / "a", weights), write_run(tmp_path / "b", planted))
    names = [tensor["name"] for tensor in found["tensors"]]
    assert names == list(furthest_first)
    assert [tensor["error"] for tensor in found["tensors"]] == pytest.approx([*furthest_first.values()], rel=1e-3)
    printed = capsys.readouterr().out
    assert sorted(names, key=printed.rindex) == names
    monkeypatch.setenv("COLUMNS", "30")
    diff(tmp_path / "a", tmp_path / "b", "--latents=2")
    assert "…" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"learning_rate_discriminator": 2.1e-4}, "discriminator.layers.0.weight"),
        ({"learning_rate_generator": 2.1e-4}, "generator.layers.0.weight"),
        ({"beta2": 0.99}, "discriminator.layers.8.weight.adam.exp_avg_sq"),
        ({"real_target": 0.9}, "discriminator.layers.8.weight.adam.exp_avg"),
        ({"generator_target": 0.9}, "generator.layers.9.weight.adam.exp_avg"),
    ],
)
def test_after_one_step_the_first_difference_is_what_the_change_reaches_first(changes, part, diff, digits, tmp_path):
    runs = []
    for letter, config in (("a", CONFIG), ("b", replace(CONFIG, **changes))):
        trainer = build("torch", config)
        trainer.train_chunk(*chunk_of(config, num_steps=1))
        runs.append(write_run(tmp_path / letter, trainer.export_weights(), config=config))
    _, found = diff(*runs)
    assert found["first_difference"]["name"] == found["first_divergence"]["name"] == part
    assert found["differing_config_fields"] == list(changes)


def test_other_noise_reaches_the_generators_statistics_first(diff, digits, tmp_path):
    runs = []
    for letter, factor in (("a", 1), ("b", 1.01)):
        trainer = build("torch", CONFIG)
        chunk = chunk_of(CONFIG, num_steps=1)
        trainer.train_chunk(*chunk._replace(latents=(chunk.latents * factor).astype(np.float32)))
        runs.append(write_run(tmp_path / letter, trainer.export_weights()))
    _, found = diff(*runs)
    assert found["first_difference"]["name"] == "generator.layers.1.running_mean"


def test_rounding_does_not_hide_where_a_real_difference_begins(diff, tmp_path, capsys):
    weights = some_weights()
    noisy = changed(weights, "generator.layers.1.running_mean", 1 + 1e-6)
    planted = changed(noisy, "discriminator.layers.2.weight", 1.01)
    _, found = diff(write_run(tmp_path / "a", weights), write_run(tmp_path / "b", planted))
    assert found["first_difference"]["name"] == "generator.layers.1.running_mean"
    assert found["first_divergence"]["name"] == "discriminator.layers.2.weight"
    assert found["first_divergence"]["input_error"] == found["first_difference"]["error"] < 1e-5
    assert "The first beyond rounding (1e-05) is discriminator.layers.2.weight (1.0e-02" in capsys.readouterr().out
    _, found = diff(write_run(tmp_path / "a", weights), write_run(tmp_path / "c", noisy))
    assert found["first_divergence"] is None
    assert "No tensor is beyond rounding" in capsys.readouterr().out


def test_the_newest_checkpoint_of_a_run_folder_is_taken_and_a_file_may_be_named(diff, tmp_path, capsys):
    weights = some_weights()
    run = write_run(tmp_path / "a", weights, step=9)
    write_run(run, changed(weights, "generator.layers.0.weight"), step=10)
    code, found = diff(run, run / "checkpoints" / "step_9.safetensors")
    assert code == 1
    assert (found["a"]["step"], found["b"]["step"]) == (10, 9)
    assert "Their steps differ: 10 / 9" in capsys.readouterr().out


def test_another_type_of_the_same_values_is_a_difference(diff, tmp_path):
    weights, name = some_weights(), "generator.layers.0.weight"
    other = weights | {name: weights[name].astype(np.float64)}
    code, found = diff(write_run(tmp_path / "a", weights), write_run(tmp_path / "b", other))
    assert code == 1
    assert found["tensors"][0] == {"name": name, "error": 0, "note": "float32 / float64"}


def test_other_networks_are_listed_by_shape_and_side_and_not_run(diff, tmp_path, capsys):
    config = small_config("dcgan28", seed=3)
    first = write_run(tmp_path / "a", some_weights())
    second = write_run(tmp_path / "b", some_weights(config), config=config)
    code, found = diff(first, second)
    notes = {tensor["name"]: tensor["note"] for tensor in found["tensors"] if tensor["error"] is None}
    assert code == 1
    assert notes["generator.layers.0.weight"] == "(16, 16, 4, 4) / (16, 8, 7, 7)"
    assert notes["discriminator.layers.8.weight"] == "only in A"
    assert found["differing_config_fields"] == ["preset", "image_size", "seed"]
    assert "preset ('dcgan32' / 'dcgan28')" in capsys.readouterr().out
    with pytest.raises(UserError, match="--latents needs equal networks"):
        diff(first, second, "--latents=4")


@pytest.mark.parametrize("frameworks", PAIRS)
@pytest.mark.parametrize(
    ("planted", "layer"),
    [
        ("generator.layers.3.weight", "generator.layers.3"),
        ("generator.layers.4.running_var", "generator.layers.4"),  # eval mode alone sees it
        ("discriminator.layers.5.weight", "discriminator.layers.5"),
    ],
)
def test_the_layer_in_which_a_difference_was_planted_is_the_one_marked(
    planted, layer, frameworks, diff, tmp_path, capsys
):
    weights = some_weights()
    runs = [
        write_run(tmp_path / letter, tensors, framework=framework)
        for letter, tensors, framework in zip("ab", (weights, changed(weights, planted)), frameworks, strict=True)
    ]
    code, found = diff(*runs, "--latents=4")
    layers = found["activations"]["layers"]
    assert code == 1
    assert [each["name"] for each in layers if each["parts"]] == [layer]
    first = found["activations"]["first_divergence"]
    assert first["name"] == layer
    assert first["error"] > 1e-2
    assert first["error"] > 10 * first["input_error"]
    assert [each["name"].split(".")[0] for each in layers] == 11 * ["generator"] + 9 * ["discriminator"]
    # Each network's error begins where it was planted, and the other network, fed the same inputs, has none.
    before = [each["error"] for each in layers if not each["name"].startswith(layer.split(".")[0])]
    assert max(before) < 1e-5
    assert f"beyond 10 times its input: {layer} (" in capsys.readouterr().out


@pytest.mark.parametrize(("precision", "largest"), [("float64", 1e-12), ("float32", 1e-5), ("bfloat16", 1e-5)])
def test_equal_weights_in_both_frameworks_agree_to_the_precision_of_the_config(precision, largest, diff, tmp_path):
    config = small_config(precision=precision)
    runs = [write_run(tmp_path / name, some_weights(config), framework=name, config=config) for name in FRAMEWORKS]
    code, found = diff(*runs, "--latents=4")
    layer_errors = [layer["error"] for layer in found["activations"]["layers"]]
    assert code == 0
    assert 0 < max(layer_errors) < largest
    assert found["activations"]["first_divergence"] is None


@pytest.mark.parametrize("precisions", [("float32", "float64"), ("float64", "float32")])
def test_neither_precision_of_one_process_leaks_into_the_other(precisions, diff, tmp_path):
    runs = []
    for precision in precisions:
        config = small_config(precision=precision)
        runs.append(write_run(tmp_path / precision, some_weights(config), framework="jax", config=config))
    _, found = diff(*runs, "--latents=4")
    assert 1e-9 < found["activations"]["layers"][0]["error"] < 1e-5
    assert found["activations"]["first_divergence"] is None


def test_colour_images_are_found_in_the_tensors(diff, tmp_path):
    runs = [write_run(tmp_path / name, some_weights(image_channels=3), framework=name) for name in FRAMEWORKS]
    code, found = diff(*runs, "--latents=2")
    assert code == 0
    assert found["activations"]["first_divergence"] is None


def test_a_number_of_latents_is_the_projects_own_stream_of_as_seed(diff, tmp_path):
    config = small_config(seed=7)
    weights = some_weights()
    planted = changed(weights, "generator.layers.3.weight")
    runs = [write_run(tmp_path / "a", weights, config=config), write_run(tmp_path / "b", planted)]
    latents = fixed_latents(7, num=300, latent_dim=config.latent_dim)
    np.save(tmp_path / "five.npy", latents[:5])
    np.savez_compressed(tmp_path / "many.npz", latents=latents, images=np.zeros(3))
    by_number, by_file, by_archive = (
        diff(*runs, f"--latents={latents}")[1]["activations"]
        for latents in ("5", tmp_path / "five.npy", tmp_path / "many.npz")
    )
    assert by_number == by_file
    assert by_archive["num_latents"] == MAX_LATENTS
    assert by_archive["first_divergence"]["name"] == "generator.layers.3"


def test_a_framework_is_imported_only_to_run_what_it_wrote(diff, tmp_path, monkeypatch):
    torch_run, jax_run = (write_run(tmp_path / name, some_weights(), framework=name) for name in FRAMEWORKS)
    monkeypatch.setitem(sys.modules, "comparison.parity.probes.jax_probe", None)
    assert diff(torch_run, torch_run, "--latents=2")[0] == 0
    with pytest.raises(UserError, match=r"is not installed .*: pip install jax flax optax"):
        diff(torch_run, jax_run, "--latents=2")
    monkeypatch.setitem(sys.modules, "comparison.parity.probes.torch_probe", None)
    assert diff(torch_run, jax_run)[0] == 0
    with pytest.raises(UserError, match="pip install torch"):
        diff(torch_run, torch_run, "--latents=2")


def bad_files(folder: Path) -> dict[str, Path]:
    """What can be wrong with a side, or with a file of latents."""
    weights, width = some_weights(), CONFIG.latent_dim
    whole = write_run(folder / "whole", weights) / "checkpoints" / "step_1.safetensors"
    nan = weights | {"generator.layers.4.bias": np.full_like(weights["generator.layers.4.bias"], np.nan)}
    without = {name: array for name, array in weights.items() if not name.endswith("exp_avg")}
    (folder / "empty").mkdir()
    (folder / "odd").mkdir()
    (folder / "odd" / "step_best.safetensors").touch()
    (folder / "cut.safetensors").write_bytes(whole.read_bytes()[:5000])
    for name, header in {"number": "3", "nan_header": '{"step": NaN}'}.items():
        save_file(dict(weights), folder / f"{name}.safetensors", {"checkpoint": header})
    for name, config in {"list": [1], "config": {"x": 1}}.items():
        (folder / f"{name}.safetensors").write_bytes(serialise(weights, {}, {"config": config}))
    np.save(folder / "integers.npy", np.zeros((3, width), np.int64))
    np.save(folder / "wide.npy", np.zeros((3, width + 1), np.float32))
    np.save(folder / "none.npy", np.zeros((0, width), np.float32))
    np.save(folder / "nan.npy", np.full((3, width), np.nan, np.float32))
    np.save(folder / "object.npy", np.array([{}]), allow_pickle=True)
    np.savez(folder / "images.npz", images=np.zeros(3))
    (folder / "text.npy").write_text("latents")
    (folder / "cut.npz").write_bytes((folder / "images.npz").read_bytes()[:100])
    return {
        "whole": whole,
        "nan": write_run(folder / "nan", nan),
        "without": write_run(folder / "without", without),
        "other": write_run(folder / "other", weights, framework="tensorflow"),
    }


BAD = {
    "one side": ([], "B is missing"),
    "three sides": (["whole", "whole"], "is one word too many"),
    "an unknown flag": (["whole", "--latent=3"], "--latents"),
    "a missing path": (["missing"], "missing does not exist"),
    "an empty folder": (["empty"], "empty holds no checkpoints"),
    "a folder of other files": (["odd"], "odd holds no checkpoints"),
    "a damaged checkpoint": (["cut.safetensors"], "cut.safetensors cannot be read"),
    "a foreign file": (["text.npy"], "text.npy cannot be read"),
    "a header that is a number": (["number.safetensors"], "cannot be read as a checkpoint"),
    "a config that is a list": (["list.safetensors"], "no checkpoint of this project"),
    "NaN in the header": (["nan_header.safetensors"], "cannot be read as a checkpoint"),
    "NaN in a tensor": (["nan"], "generator.layers.4.bias holds NaN"),
    "no latents": (["whole", "--latents=0"], "choose 1 to 256"),
    "fewer than no latents": (["whole", "--latents", "-1"], "choose 1 to 256"),
    "too many latents": (["whole", "--latents=257"], "choose 1 to 256"),
    "missing latents": (["whole", "--latents=missing.npy"], "missing.npy cannot be read"),
    "latents of another type": (["whole", "--latents=integers.npy"], "takes float32 (N, 16)"),
    "latents of another length": (["whole", "--latents=wide.npy"], "takes float32 (N, 16)"),
    "a file of no latents": (["whole", "--latents=none.npy"], "takes float32 (N, 16)"),
    "latents of NaN": (["whole", "--latents=nan.npy"], "holds NaN"),
    "pickled latents": (["whole", "--latents=object.npy"], "damaged or foreign"),
    "an archive without latents": (["whole", "--latents=images.npz"], "damaged or foreign"),
    "a damaged archive": (["whole", "--latents=cut.npz"], "damaged or foreign"),
    "latents that are text": (["whole", "--latents=text.npy"], "damaged or foreign"),
    "an unknown framework to run": (["other", "--latents=2"], "its framework is 'tensorflow'"),
    "an unknown config to run": (["config.safetensors", "--latents=2"], "does not say how to run it"),
    "too few tensors to run": (["without", "--latents=2"], "exp_avg is missing"),
    "JSON into no folder": (["whole", "--json=missing/diff.json"], "a folder that exists"),
    "JSON over a folder": (["whole", "--json=empty"], "a folder that exists"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_says_what_is_wrong_and_exit_code_2(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = bad_files(tmp_path)
    arguments, said = BAD[case]
    words = ["diff", str(known["whole"]), *(str(known.get(word, word)) for word in arguments)]
    assert report_errors(PROGRAM, lambda: run_command(words)) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""  # all that can be wrong is known before anything is printed


def test_the_pretrained_model_is_taken_by_its_name_or_its_file_without_adam(diff, tmp_path, capsys):
    shipped = trained_model.FOLDER / trained_model.WEIGHTS_FILE
    code, found = diff(Path("pretrained"), shipped)
    assert code == 0
    assert found["identical"]
    assert "Adam's state is left out" in capsys.readouterr().out
    config = TrainConfig(**trained_model.read_pretrained().header["config"])
    run = write_run(tmp_path / "run", initial_weights(config, build_architecture(config)), config=config)
    code, found = diff(run, shipped)
    assert code == 1
    assert found["rounding"] == 1e-3
    assert {tensor["note"] for tensor in found["tensors"]} == {""}
    assert not any(".adam." in tensor["name"] for tensor in found["tensors"])


def test_a_packed_model_of_ones_own_is_within_half_precision_of_its_checkpoint(diff, tmp_path):
    run = write_run(tmp_path / "run", some_weights())
    checkpoint = load_checkpoint(find_checkpoint(run))
    (tmp_path / "own.safetensors").write_bytes(trained_model.pack(checkpoint, checkpoint.header))
    code, found = diff(run, tmp_path / "own.safetensors", "--latents=2")
    assert code == 1
    assert found["first_divergence"] is None
