"""The evaluator: its feature network, its metrics against oracles, what it refuses, and its command line."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import prdc
import pytest
import scipy.linalg
import torch
from onnx import numpy_helper
from torch.nn import functional

from common.data import Dataset, fit_images, load_dataset
from common.evaluation import Evaluation, FeatureNetwork, Features, digit_images, evaluate_samples, load_feature_network
from common.evaluation.__main__ import main
from common.evaluation.feature_network import DESCRIPTION_PATH, NETWORK_PATH
from common.evaluation.metrics import class_histogram, frechet_distance, mnist_score, sample_metrics
from common.evaluation.neighbours import neighbour_metrics


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset("mnist")


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    return load_feature_network()


@pytest.fixture(scope="module")
def digit_features(mnist: Dataset, network: FeatureNetwork) -> Features:
    return network.extract(mnist.test_images)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# The feature network


def test_the_network_classifies_the_test_digits(mnist: Dataset, digit_features: Features):
    assert digit_features.features.shape == (10_000, 128)
    accuracy = np.mean(digit_features.logits.argmax(axis=1) == mnist.test_labels)
    assert accuracy >= 0.992
    assert accuracy == pytest.approx(json.loads(DESCRIPTION_PATH.read_text())["test_accuracy"], abs=2e-4)


def test_the_network_is_small():
    weights = [w for w in onnx.load(NETWORK_PATH).graph.initializer if len(w.dims) and w.name != "channel_axis"]
    assert sum(int(np.prod(w.dims)) for w in weights) == 93_962
    assert json.loads(DESCRIPTION_PATH.read_text())["num_parameters"] == 93_962


def test_the_network_agrees_with_the_same_layers_in_torch(mnist: Dataset, network: FeatureNetwork):
    initializers = onnx.load(NETWORK_PATH).graph.initializer
    weights = {w.name: torch.tensor(numpy_helper.to_array(w)) for w in initializers}
    x = torch.tensor(mnist.test_images[:300]).float().div(255).unsqueeze(1)
    for layer in (1, 2, 3):
        x = functional.conv2d(x, weights[f"weight_{layer}"], weights[f"bias_{layer}"], padding=1).relu()
        x = functional.max_pool2d(x, 2) if layer < 3 else x.mean(dim=(2, 3))
    features, logits = network.extract(mnist.test_images[:300])
    np.testing.assert_allclose(features, x, atol=1e-4)
    expected_logits = functional.linear(x, weights["class_weight"], weights["class_bias"])
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4)


def test_features_do_not_depend_on_how_many_images_come_along(mnist: Dataset, network: FeatureNetwork):
    many, few = network.extract(mnist.test_images[:700]), network.extract(mnist.test_images[:3])
    np.testing.assert_array_equal(many.features[:3], few.features)


def test_a_changed_network_file_is_refused(tmp_path: Path):
    content = bytearray(NETWORK_PATH.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"changed\.onnx is not the committed feature network"):
        load_feature_network(tmp_path / "changed.onnx")


# Metrics against oracles


def test_frechet_distance_has_the_closed_form_of_independent_gaussians(rng: np.random.Generator):
    white = rng.standard_normal((500, 4))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T  # covariance exactly 1
    a, b = np.array([1.0, 2.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.5, 0.0])  # standard deviations
    shift = np.array([1.0, 0.0, -2.0, 3.0])
    expected = np.sum(shift**2) + np.sum((a - b) ** 2)
    assert frechet_distance(white * a, white * b + shift) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_agrees_with_the_matrix_square_root(rng: np.random.Generator):
    real = rng.standard_normal((400, 8)) @ rng.standard_normal((8, 8))
    generated = rng.standard_normal((300, 8)) @ rng.standard_normal((8, 8)) + 0.5
    real_covariance, generated_covariance = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(real_covariance @ generated_covariance))
    expected = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    expected += np.trace(real_covariance + generated_covariance - 2 * root)
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_neighbour_metrics_agree_with_prdc(rng: np.random.Generator, shift: float):
    real, generated = rng.standard_normal((400, 6)), rng.standard_normal((400, 6)) * 0.8 + shift
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(real, generated, nearest_k=5)
    assert neighbour_metrics(real, generated, k=5)._asdict() == pytest.approx(expected, rel=1e-12)


def test_neighbour_metrics_refuse_unequal_numbers(rng: np.random.Generator):
    with pytest.raises(ValueError, match="as many generated as real features, got 40 and 50"):
        neighbour_metrics(rng.standard_normal((50, 4)), rng.standard_normal((40, 4)), k=5)


def test_mnist_score_is_the_number_of_classes_chosen_with_certainty():
    certain = 1000.0 * np.eye(10)
    assert mnist_score(certain) == pytest.approx(10)
    assert mnist_score(certain[[3, 3, 7, 7]]) == pytest.approx(2)
    assert mnist_score(np.zeros((20, 10))) == pytest.approx(1)  # wholly uncertain


def test_class_histogram_counts_a_missing_class_as_zero():
    assert class_histogram(np.eye(10)[[0, 0, 4]]).tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 0]


# Whole evaluations


def values(images: np.ndarray) -> dict[str, float]:
    return {name: metric["value"] for name, metric in evaluate_samples(images).metrics.items()}


def test_the_test_digits_themselves_are_perfect(mnist: Dataset):
    perfect = values(mnist.test_images[:1000])
    assert perfect["frechet_distance"] == pytest.approx(0, abs=1e-9)
    assert perfect["class_kl"] == 0
    assert [perfect[name] for name in ("precision", "recall", "density", "coverage")] == [1, 1, 1, 1]


def test_one_digit_repeated_is_precise_but_covers_nothing(mnist: Dataset):
    collapsed = values(np.repeat(mnist.test_images[:1], 1000, axis=0))
    assert collapsed["precision"] == 1
    assert collapsed["recall"] == 0
    assert collapsed["coverage"] < 0.02
    assert collapsed["num_missing_classes"] == 9
    assert collapsed["smallest_class"] == 0
    assert collapsed["mnist_score"] == pytest.approx(1)
    assert collapsed["class_kl"] > 2


def test_black_images_get_finite_numbers():
    black = values(np.zeros((1000, 28, 28), np.uint8))
    assert all(np.isfinite(value) for value in black.values())
    assert black["precision"] == black["coverage"] == 0


def test_frechet_distance_grows_with_noise(mnist: Dataset, network: FeatureNetwork, rng: np.random.Generator):
    real = mnist.test_images[:1000]
    noise = rng.standard_normal(real.shape)
    noisy = [np.clip(real + sigma * noise, 0, 255).astype(np.uint8) for sigma in (0, 10, 40, 80)]
    features = [network.extract(images).features for images in noisy]
    distances = [frechet_distance(features[0], other) for other in features]
    assert distances == sorted(distances)
    assert distances[-1] > 100 * distances[1] > 0


def test_real_digits_score_close_to_their_floors(mnist: Dataset):
    evaluation = evaluate_samples(mnist.train_images[20_000:22_000])
    for name in ("precision", "recall", "density", "coverage"):
        metric = evaluation.metrics[name]
        assert 0.75 < metric["value"] < 1
        assert metric["value"] == pytest.approx(metric["floor"], abs=0.1)
    distance = evaluation.metrics["frechet_distance"]
    assert 0.5 < distance["value"] / distance["floor"] < 2
    assert not evaluation.protocol["comparable"]


def test_the_stored_floors_are_those_of_the_first_training_digits(mnist: Dataset, digit_features: Features):
    evaluation = evaluate_samples(mnist.train_images[:10_000])
    assert evaluation.protocol["comparable"]
    alone = sample_metrics(digit_features)
    for name, metric in evaluation.metrics.items():
        # Other processors round features differently, which may move a few images across a ball's edge.
        assert metric["floor"] == pytest.approx(alone.get(name, metric["value"]), rel=1e-3)


@pytest.fixture(scope="module")
def evaluation(mnist: Dataset) -> Evaluation:
    return evaluate_samples(mnist.train_images[5000:6000])


def test_two_evaluations_are_equal_to_the_last_bit(mnist: Dataset, evaluation: Evaluation):
    assert evaluate_samples(mnist.train_images[5000:6000]) == evaluation


def test_an_evaluation_survives_json(evaluation: Evaluation):
    assert json.loads(json.dumps(evaluation.to_json())) == evaluation.to_json()


def test_a_border_around_the_digits_is_cut_off_again(mnist: Dataset):
    digits = mnist.test_images[:10]
    np.testing.assert_array_equal(digit_images(fit_images(digits, 32)), digits)


def test_enlarged_digits_are_measured_against_enlarged_digits(mnist: Dataset):
    enlarged = fit_images(mnist.test_images[:1000], 56)
    assert digit_images(enlarged).shape == (1000, 28, 28)
    assert values(enlarged)["frechet_distance"] == pytest.approx(0, abs=1e-9)


# What is refused


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1000, 28, 28), np.float32), "must be uint8, got float32"),
        (np.zeros((1000, 28), np.uint8), r"got shape \(1000, 28\)"),
        (np.zeros((1000, 28, 30), np.uint8), r"square grayscale images .* got shape \(1000, 28, 30\)"),
        (np.zeros((1000, 0, 0), np.uint8), r"got shape \(1000, 0, 0\)"),
        (np.zeros((1000, 28, 28, 3), np.uint8), "RGB is not scored"),
        (np.zeros((999, 28, 28), np.uint8), "got 999 samples: 1,000 to 10,000 are needed"),
        (np.zeros((10_001, 1, 1), np.uint8), "got 10,001 samples"),
    ],
)
def test_wrong_samples_are_refused(images: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate_samples(images)


# The command line


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "common.evaluation", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, mnist: Dataset):
    np.savez(tmp_path / "samples.npz", images=mnist.train_images[:2500], seed=0)
    result = run_command(tmp_path / "samples.npz", "--quick", "--json", tmp_path / "result.json")
    assert (result.returncode, result.stderr) == (0, "")
    assert "not the standard protocol" in result.stdout
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["protocol"]["num_generated"] == 2000
    assert written["metrics"]["coverage"].keys() == {"value", "spread", "floor"}
    assert sum(written["class_histogram"]["generated"]) == 2000


def test_the_command_refuses_a_missing_file_in_one_line(tmp_path: Path):
    result = run_command(tmp_path / "none.npz")
    assert result.returncode == 2
    assert result.stderr == f"error: there is no file {tmp_path / 'none.npz'}: pass the samples.npz of a run\n"


@pytest.mark.parametrize("damage", ["truncated", "text", "other key", "objects", "npy", "scalar"])
def test_the_command_refuses_a_foreign_file_in_one_line(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "samples.npz"
    images = np.zeros((1000, 8, 8), np.uint8)
    arrays = {"other key": {"x": images}, "objects": {"images": np.array([{}])}, "scalar": {"images": 1}}
    np.savez(path, **arrays.get(damage, {"images": images}))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:20_000])
    elif damage == "text":
        path.write_text("not an archive")
    elif damage == "npy":
        with path.open("wb") as file:
            np.save(file, images)
    monkeypatch.setattr(sys, "argv", ["evaluation", str(path)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_json_file_in_no_folder_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["evaluation", "samples.npz", "--json", str(tmp_path / "no" / "x.json")])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "is not a folder" in capsys.readouterr().err


def test_the_evaluator_imports_neither_framework():
    frameworks = {"torch", "torchvision", "jax", "jaxlib", "flax", "optax"}
    code = f"import sys, common.evaluation.__main__; print({frameworks} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
