"""The evaluator: its feature network, its metrics against oracles, what it refuses, and its command line."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from common.config import TrainConfig, to_dict
from common.data.datasets import Dataset, fit_images, load_dataset, resize_images
from common.errors import UserError
from common.evaluation import (
    Evaluation,
    FeatureNetwork,
    Features,
    digit_images,
    evaluate_samples,
    feature_network,
    floors,
    load_feature_network,
    read_samples,
    stored,
)
from common.evaluation import kernel_distance as kernel_distance_module
from common.evaluation.__main__ import main
from common.evaluation.calibration import BAD_SETS, FAINT_FAULTS, in_order, stored_calibration
from common.evaluation.catalogue import METRICS, metrics_with_floor
from common.evaluation.classes import mnist_score
from common.evaluation.feature_network import ASSETS, DESCRIPTION_PATH, NETWORK_PATH
from common.evaluation.floors import floor_in_words, load_floors
from common.evaluation.frechet import Gaussian, frechet_distance
from common.evaluation.kernel_distance import kernel_distance
from common.evaluation.metrics import all_scores, full_scores, make_draw, quick_scores
from common.evaluation.reference import Reference, shuffled_indices
from common.evaluation.samples import round_trip, some_of
from common.evaluation.table import table
from common.evaluation.training_digits import load_features, load_training_digits

ROOT = Path(__file__).parents[2]


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


@pytest.fixture(autouse=True)
def _few_kernel_subsets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """KID's hundred subsets are most of a small evaluation's time, and only slow tests look at its exact value."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(kernel_distance_module, "NUM_SUBSETS", 4)


# The feature network


def test_the_network_classifies_the_test_digits(mnist: Dataset, digit_features: Features):
    assert digit_features.features.shape == (10_000, 128)
    accuracy = np.mean(digit_features.logits.argmax(axis=1) == mnist.test_labels)
    assert accuracy >= 0.993
    assert accuracy == pytest.approx(json.loads(DESCRIPTION_PATH.read_text())["test_accuracy"], abs=2e-4)


def test_the_network_has_as_many_parameters_as_its_description_says():
    fixed = {"channel_axis", "white", "low_pass"}
    trained = [weight for weight in onnx.load(NETWORK_PATH).graph.initializer if weight.name not in fixed]
    num_parameters = sum(int(np.prod(weight.dims)) for weight in trained)
    assert json.loads(DESCRIPTION_PATH.read_text())["num_parameters"] == num_parameters


def test_features_do_not_depend_on_how_many_images_come_along(mnist: Dataset, network: FeatureNetwork):
    many, few = network.extract(mnist.test_images[:700]), network.extract(mnist.test_images[:3])
    np.testing.assert_array_equal(many.features[:3], few.features)


def test_a_changed_network_file_is_refused(tmp_path: Path):
    content = bytearray(NETWORK_PATH.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"changed\.onnx is not the committed feature network"):
        load_feature_network(tmp_path / "changed.onnx")


# Whole evaluations


@pytest.fixture(scope="module")
def reference(mnist: Dataset, network: FeatureNetwork) -> Reference:
    """A thousand of 3,000 test digits, beside 6,000 training digits: what all 70,000 show takes half a minute."""
    fewer = replace(mnist, train_images=mnist.train_images[:6_000], test_images=mnist.test_images[:3_000])
    return Reference(network, fewer, split="test", num_images=1000, image_size=28)


def values(images: np.ndarray, reference: Reference) -> dict[str, float]:
    return all_scores(make_draw(images, reference), reference).values


def test_every_metric_is_in_the_catalogue_and_what_is_in_the_catalogue_is_computed(reference: Reference):
    of_samples = values(reference.images, reference).keys()
    assert of_samples == set(metrics_with_floor(quick=False))
    assert METRICS.keys() - of_samples == {"path_length"}  # of the generator, not of its samples
    quick = quick_scores(make_draw(reference.images, reference), reference).values
    assert quick.keys() == set(metrics_with_floor(quick=True))


def test_the_words_for_the_floor_name_the_metrics_that_have_another_one():
    assert floor_in_words("test", quick=True).endswith("; the real digits themselves for MNIST score")
    whole = floor_in_words("train", quick=False)
    assert "for MNIST score, Smallest class, Missing classes, Mean confidence;" in whole
    assert whole.endswith("; the test digits for Memorised, Copying statistic C_T")


@pytest.mark.slow
def test_the_test_digits_themselves_are_perfect(reference: Reference):
    perfect = values(reference.images, reference)
    for distance in ("frechet_distance", "pixel_frechet_distance"):
        assert perfect[distance] == pytest.approx(0, abs=1e-9)
    assert perfect["class_kl"] == perfect["class_chi_square"] == 0
    everything = ("precision", "recall", "density", "coverage", "pixel_precision", "pixel_coverage")
    assert [perfect[name] for name in everything] == [1] * len(everything)


def test_one_digit_repeated_is_precise_but_covers_nothing(reference: Reference):
    collapsed = values(np.repeat(reference.images[:1], 1000, axis=0), reference)
    assert collapsed["precision"] == 1
    assert collapsed["recall"] == 0
    assert collapsed["coverage"] < 0.02
    assert collapsed["num_missing_classes"] == 9
    assert collapsed["smallest_class"] == 0
    assert collapsed["mnist_score"] == pytest.approx(1)
    assert collapsed["class_kl"] > 2
    assert collapsed["duplicate_fraction"] == 1


def test_memorised_training_digits_set_off_the_screen(mnist: Dataset, reference: Reference):
    memorised = values(mnist.train_images[:1000], reference)
    honest = values(mnist.test_images[3000:4000], reference)
    assert memorised["memorised_fraction"] == 1
    assert memorised["copying_statistic"] < -20
    assert honest["memorised_fraction"] < 0.5
    assert abs(honest["copying_statistic"]) < 5
    assert memorised["coverage"] == pytest.approx(honest["coverage"], abs=0.1)  # which alone praises the copies


@pytest.mark.slow
def test_a_memorised_reference_is_covered_whole_and_sets_off_the_screen(reference: Reference, network: FeatureNetwork):
    training = Reference(network, reference.mnist, split="train", num_images=1000, image_size=28)
    memorised = values(training.images, training)
    assert memorised["coverage"] == memorised["memorised_fraction"] == 1
    assert memorised["copying_statistic"] < -20


@pytest.mark.parametrize("spoil", ["noise", "blur"])
def test_distances_grow_with_noise_and_with_blur(spoil: str, reference: Reference, rng: np.random.Generator):
    noise = rng.standard_normal(reference.images.shape)
    spoilt = [
        np.clip(reference.images + 30 * amount * noise, 0, 255).astype(np.uint8)
        if spoil == "noise"
        else gaussian_filter(reference.images, sigma=(0, amount, amount))
        for amount in (0, 0.8, 1.6, 3.2)  # a network that looks past faint faults hardly sees less
    ]
    features = [make_draw(images, reference).features for images in spoilt]
    distances = [frechet_distance(reference.gaussian, Gaussian.of(some)) for some in features]
    assert distances == sorted(distances)
    assert distances[-1] > 10 * distances[1] > 0
    kernel_distances = [kernel_distance(reference.features, some, seed=0).value for some in features[::3]]
    assert kernel_distances[1] > 10 * abs(kernel_distances[0])


# Digits from all over the file, whose parts differ.
FIRST, SECOND = slice(0, None, 60), slice(30, None, 60)


@pytest.fixture(scope="module")
def evaluation(mnist: Dataset) -> Evaluation:
    """Two draws of real digits in place of generated ones."""
    return evaluate_samples([mnist.train_images[FIRST], mnist.train_images[SECOND]])


@pytest.mark.slow
def test_real_digits_score_close_to_their_floors(evaluation: Evaluation):
    assert not evaluation.protocol["comparable"]  # N is 1,000
    for name in ("precision", "recall", "density", "coverage", "pixel_precision", "pixel_coverage"):
        metric: Any = evaluation.metrics[name]
        assert metric["floor_low"] < metric["floor"] < metric["floor_high"]
        assert metric["value"] == pytest.approx(metric["floor"], abs=0.06)  # N is 1,000
    for name in ("frechet_distance", "pixel_frechet_distance"):
        metric = evaluation.metrics[name]
        assert 0.4 < metric["value"] / metric["floor"] < 2.5  # at N = 1,000 the classes of a draw differ


@pytest.mark.slow
def test_the_value_is_the_mean_of_the_draws_and_the_spread_their_deviation(mnist: Dataset, evaluation: Evaluation):
    blocks = [mnist.train_images[FIRST], mnist.train_images[SECOND]]
    singles = [evaluate_samples(block, quick=True).metrics["frechet_distance"] for block in blocks]
    distances = [single["value"] for single in singles]
    metric = evaluation.metrics["frechet_distance"]
    assert metric["value"] == pytest.approx(np.mean(distances))
    assert metric["spread"] == pytest.approx(abs(distances[0] - distances[1]) / np.sqrt(2))
    assert singles[0]["spread"] is None
    assert evaluation.protocol["num_draws"] == 2


@pytest.mark.slow
def test_an_evaluation_survives_json_and_has_only_finite_numbers(evaluation: Evaluation):
    assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False)) == evaluation.to_json()


@pytest.mark.slow
def test_the_first_draw_is_shown_by_class_and_by_its_nearest_training_digits(mnist: Dataset, evaluation: Evaluation):
    examples = evaluation.class_examples
    labels = mnist.train_labels[FIRST]
    agreeing = [np.mean(labels[indices] == digit) for digit, indices in enumerate(examples)]
    assert [len(indices) for indices in examples] == [10] * 10
    assert np.mean(agreeing) > 0.95
    # The draw is of training digits: each is its own nearest one.
    assert all(pair["training_image"] == 60 * pair["sample"] for pair in evaluation.nearest_neighbours)


def test_against_training_digits_the_reference_and_its_floor_are_others(mnist: Dataset):
    evaluation = evaluate_samples(
        mnist.test_images[shuffled_indices(mnist, "test")[:2000]], reference="train", quick=True
    )
    assert evaluation.protocol["reference"] == "MNIST training digits"
    assert not evaluation.protocol["comparable"]
    metric: Any = evaluation.metrics["frechet_distance"]
    assert metric["floor_low"] <= metric["value"] <= metric["floor_high"]  # the test digits are one of its blocks


@pytest.mark.slow
def test_the_shipped_floors_hold_every_metric_of_a_block_that_they_were_computed_from(
    mnist: Dataset, network: FeatureNetwork
):
    reference = Reference(network, mnist, split="test", num_images=10_000, image_size=28)
    floors = load_floors(reference, quick=False)
    block = mnist.train_images[shuffled_indices(mnist, "train")[10_000:20_000]]
    scores = full_scores(make_draw(block, reference), reference).values
    ranges = {name: (floor.low, floor.high) for name, floor in floors.items() if floor.low is not None}
    assert {"frechet_distance", "kid", "coverage", "class_kl", "pixel_coverage", "duplicate_fraction"} < ranges.keys()
    for name, (low, high) in ranges.items():
        assert high is not None
        # Other processors round features differently.
        assert low - 1e-3 * abs(low) <= scores[name] <= high + 1e-3 * abs(high), name
    assert floors["mnist_score"].mean == pytest.approx(mnist_score(reference.logits), rel=1e-4)
    assert floors["copying_statistic"].mean == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_the_shipped_statistics_are_those_of_the_training_digits(mnist: Dataset, network: FeatureNetwork):
    digits = load_training_digits(mnist.train_images, network, image_size=28)
    some = digits.features[:50].astype(np.float64)
    distances = np.sort(cdist(some, digits.features.astype(np.float64)), axis=1)[:, 1]
    np.testing.assert_allclose(digits.statistics.distances[:50], distances, rtol=1e-4)
    components = digits.components(mnist.train_images[:10_000])
    correlation = np.corrcoef(components[:, :10], rowvar=False)
    assert np.abs(correlation - np.eye(10)).max() < 0.05
    assert (np.diff(components[:, :10].var(axis=0)) < 0).all()


def test_the_shipped_calibration_orders_bad_sets_as_a_person_would():
    rows = stored_calibration()
    assert rows.keys() == {*BAD_SETS, *FAINT_FAULTS}
    distances = [rows[name]["frechet_distance"] for name in BAD_SETS]
    assert distances == sorted(distances, reverse=True)
    assert rows["1,000 memorised digits"]["memorised_fraction"] == 1
    assert rows["one class only"]["precision"] > 0.9 > 0.2 > rows["one class only"]["coverage"]
    assert rows["one class only"]["num_missing_classes"] == 9


def test_the_pretrained_gan_stands_between_faint_faults_and_bad_sets():
    rows = stored_calibration()
    gan = json.loads((ROOT / "common/pretrained/dcgan.json").read_text())["metrics"]
    for name in ("frechet_distance", "kid"):
        assert rows["uniform noise"][name] > rows["one class only"][name] > gan[name]["float16"]
        assert gan[name]["float16"] > max(rows[fault][name] for fault in FAINT_FAULTS)
    for name in ("precision", "coverage", "mnist_score"):
        assert gan[name]["float16"] < min(rows[fault][name] for fault in FAINT_FAULTS)


def test_more_blurred_and_turned_digits_than_real_ones_are_precise_in_pixels_as_the_catalogue_says():
    rows = stored_calibration()
    real = json.loads((ASSETS / "floors_test_10000_28.json").read_text())["pixel_precision"]["high"]
    assert all(rows[name]["pixel_precision"] > real for name in ("blurred digits", "turned by 10 degrees"))
    assert METRICS["pixel_precision"].better == ""


def test_a_row_without_a_distance_stands_last():
    rows = {"none": {}, "far": {"frechet_distance": 2.0}, "near": {"frechet_distance": 1.0}}
    assert list(in_order(rows)) == ["near", "far", "none"]


def test_a_shipped_file_that_was_changed_is_refused(network: FeatureNetwork, tmp_path: Path, monkeypatch):
    for path in ASSETS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    name = "quick_floors_test_2000_28.json"
    (tmp_path / name).write_text((tmp_path / name).read_text().replace("0.", "1.", 1))
    monkeypatch.setattr(stored, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match=f"{name} is not the committed file"):
        stored.load_or_compute(name, network, compute=lambda: b"", decode=bytes)


@pytest.mark.parametrize("name", ["mnist_features.json", "stored.json"])
@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"sha256": 1, "network_sha256": "", "files": []}', None])
def test_a_damaged_description_is_refused_in_one_line(
    name: str, content: str | None, network: FeatureNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if content is not None:
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(feature_network, "DESCRIPTION_PATH", tmp_path / "mnist_features.json")
    monkeypatch.setattr(stored, "MANIFEST_PATH", tmp_path / "stored.json")
    with pytest.raises(UserError, match=f"{name} is missing or damaged: reinstall"):
        load_feature_network() if name == "mnist_features.json" else stored.shipped("calibration.json", network.sha256)


def test_what_is_not_shipped_is_computed_once_and_a_damaged_cache_again(network: FeatureNetwork, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def compute() -> bytes:
        calls.append(1)
        return b"[1]"

    for _ in range(2):
        assert stored.load_or_compute("x.json", network, compute=compute, decode=json.loads) == [1]
    assert len(calls) == 1
    (path,) = tmp_path.rglob("x.json")
    path.write_bytes(b"[")
    assert stored.load_or_compute("x.json", network, compute=compute, decode=json.loads) == [1]
    assert len(calls) == 2


def test_features_that_are_kept_are_those_of_this_network_and_of_these_very_images(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def features_of(images: np.ndarray, *, sha256: str = "one") -> np.ndarray:
        def extract(images: np.ndarray) -> SimpleNamespace:
            calls.append(1)
            return SimpleNamespace(features=images.reshape(len(images), -1).astype(np.float32))

        return load_features(images, cast(FeatureNetwork, SimpleNamespace(sha256=sha256, extract=extract)))

    images = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    for _ in range(2):
        np.testing.assert_array_equal(features_of(images), images.reshape(2, 9))
    assert len(calls) == 1
    features_of(images, sha256="another")
    assert len(calls) == 2
    images[1, 2, 2] += 1
    assert features_of(images)[1, 8] == images[1, 2, 2]
    assert len(calls) == 3


def test_a_border_around_the_digits_is_cut_off_again(mnist: Dataset):
    digits = mnist.test_images[:10]
    np.testing.assert_array_equal(digit_images(fit_images(digits, 32)), digits)


def test_digits_enlarged_to_a_size_that_is_else_padded_are_resized_if_one_says_so(mnist: Dataset):
    digits = mnist.test_images[:10]
    enlarged = resize_images(digits, 32)
    assert np.abs(digit_images(enlarged).astype(int) - digits).mean() > 10  # a crop shows the middle, too large
    assert np.abs(digit_images(enlarged, resized=True).astype(int) - digits).mean() < 8
    np.testing.assert_array_equal(round_trip(digits, 32, resized=True), digit_images(enlarged, resized=True))
    np.testing.assert_array_equal(round_trip(digits, 32), digits)


def test_quick_samples_of_a_sorted_file_are_of_every_class(mnist: Dataset):
    order = np.argsort(mnist.test_labels, kind="stable")
    chosen = some_of(mnist.test_labels[order], 2000)
    shares = np.bincount(chosen, minlength=10) / np.bincount(mnist.test_labels)
    assert len(chosen) == 2000
    assert np.abs(shares - 0.2).max() < 0.06
    np.testing.assert_array_equal(some_of(order, len(order)), order)  # all of them stay as they are


@pytest.mark.parametrize("content", ["{}", '{"kid": {"mean": 1}}', "NaN"])
def test_damaged_floors_in_the_cache_are_computed_again(
    content: str, reference: Reference, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed = {name: floors.Floor(0.5, 0.25, 1.0) for name in metrics_with_floor(quick=True)}
    monkeypatch.setattr(floors, "compute_floors", lambda *_, **__: computed)
    assert load_floors(reference, quick=True) == computed
    (path,) = tmp_path.rglob("quick_floors_*.json")
    path.write_text(path.read_text().replace("0.25", "NaN") if content == "NaN" else content)
    assert load_floors(reference, quick=True) == computed
    assert json.loads(path.read_text()).keys() == computed.keys()


@pytest.mark.parametrize("content", ['{"model_type": "gan"}', "no JSON", "[]"])
def test_a_foreign_config_beside_the_samples_is_of_no_interest(content: str, tmp_path: Path, mnist: Dataset):
    np.savez(tmp_path / "samples.npz", images=mnist.test_images[:1000])
    (tmp_path / "config.json").write_text(content)
    assert len(read_samples(tmp_path / "samples.npz")) == 1000


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
        (np.zeros((1000, 7, 7), np.uint8), "images of 7 px: 8 to 256 px are scored"),
        (np.full((1000, 28, 28), np.nan), "must be uint8, got float64"),
        (np.zeros((1000, 28, 28), np.uint8), "every image is of one grey level"),
        (
            np.arange(1000, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2),
            "every image is of one grey level",
        ),
    ],
)
def test_wrong_samples_are_refused(images: np.ndarray, message: str):
    with pytest.raises(UserError, match=message):
        evaluate_samples(images)


def test_draws_of_unequal_numbers_are_refused(mnist: Dataset):
    with pytest.raises(UserError, match=r"the draws differ in shape, \(1100, 28, 28\) and \(1000, 28, 28\)"):
        evaluate_samples([mnist.train_images[:1100], mnist.train_images[:1000]], quick=True)
    with pytest.raises(UserError, match="there are no samples"):
        evaluate_samples([])


def test_one_draw_given_twice_is_refused(mnist: Dataset):
    with pytest.raises(UserError, match="two draws are the same"):
        evaluate_samples([mnist.train_images[:1000]] * 2, quick=True)


def test_samples_of_a_run_on_other_images_are_refused(mnist: Dataset, tmp_path: Path):
    np.savez(tmp_path / "samples.npz", images=mnist.train_images[:1000])
    for dataset in ("mnist", "fashion_mnist"):
        (tmp_path / "config.json").write_text(json.dumps(to_dict(replace(TrainConfig(), dataset=dataset))))
        if dataset == "mnist":
            assert len(read_samples(tmp_path / "samples.npz")) == 1000
        else:
            with pytest.raises(UserError, match="is of a run on fashion_mnist: name its data with --dataset"):
                read_samples(tmp_path / "samples.npz")


# The command line


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "common.evaluation", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def in_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same command without the start of a process, which takes longer than the command, and without a network."""

    def refuse(*arguments: object, **options: object):
        raise AssertionError("a socket was opened")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["evaluation", *map(str, arguments)])
        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        code = 0
        try:
            main()
        except SystemExit as exit:
            code = exit.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(sys.argv, code, *capsys.readouterr())

    return run


def test_the_command_prints_a_table_and_writes_json_without_a_network(tmp_path: Path, mnist: Dataset, in_process):
    np.savez(tmp_path / "samples.npz", images=mnist.train_images[:2500], seed=0)
    result = in_process(tmp_path / "samples.npz", "--quick", "--json", tmp_path / "result.json")
    assert (result.returncode, result.stderr) == (0, "")
    assert "not comparable" in result.stdout
    assert "ALARM" not in result.stdout
    rows = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert rows.index("Fréchet distance ↓") < rows.index("MNIST score ↑") < rows.index("KID ↓")  # the headline first
    assert max(map(len, result.stdout.splitlines())) <= 80
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["protocol"]["num_generated"] == 2000
    assert written["metrics"].keys() == {"frechet_distance", "kid", "mnist_score"}
    assert written["metrics"]["kid"].keys() >= {"value", "spread", "standard_error", "floor", "floor_low", "floor_high"}
    assert sum(written["class_histogram"]["generated"]) == 2000


def test_the_command_says_how_samples_of_another_size_came_to_28_px(tmp_path: Path, mnist: Dataset, in_process):
    np.savez(tmp_path / "samples.npz", images=fit_images(mnist.train_images[:2000], 32))
    result = in_process(tmp_path / "samples.npz", "--quick")
    assert "32 px images scored at 28 px, as: crop of the border" in result.stdout
    assert "k =" not in result.stdout  # no neighbours were asked for


@pytest.mark.slow
def test_enlarged_digits_are_measured_against_enlarged_digits(tmp_path: Path, mnist: Dataset, in_process):
    enlarged = resize_images(mnist.test_images[shuffled_indices(mnist, "test")[:1000]], 32)
    np.savez(tmp_path / "samples.npz", images=enlarged)
    result = in_process(tmp_path / "samples.npz", "--quick", "--resized", "--json", tmp_path / "result.json")
    assert "32 px images scored at 28 px, as: antialiased bilinear resize" in result.stdout
    distance = json.loads((tmp_path / "result.json").read_text())["metrics"]["frechet_distance"]["value"]
    assert distance == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_the_table_shows_each_value_against_its_floor_and_beside_bad_samples(evaluation: Evaluation):
    standard = replace(evaluation, protocol={**evaluation.protocol, "comparable": True})
    lines = table(standard).splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    distance, kl = (evaluation.metrics[name] for name in ("frechet_distance", "class_kl"))
    assert distance["floor"] is not None
    assert kl["floor"] is not None
    assert f"{distance['value'] / distance['floor']:.2f} x" in rows["Fréchet distance ↓"]
    assert f"{kl['value'] - kl['floor']:+.2g}" in rows["KL of classes ↓"]
    assert {"real digits", "THESE SAMPLES", *stored_calibration()} <= rows.keys()
    assert max(map(len, lines)) <= 80
    assert "uniform noise" not in table(evaluation)  # N is 1,000: other numbers would stand beside it


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path: Path, mnist: Dataset):
    np.savez(tmp_path / "samples.npz", images=mnist.train_images[:1000])
    for name in ("first", "second"):
        assert run_command(tmp_path / "samples.npz", "--json", tmp_path / name).returncode == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_the_feature_network_leaves_nothing_in_the_users_home(tmp_path: Path):
    """Onnxruntime keeps an identity of the device and a database there, and reports, unless it is told not to."""
    code = "from common.evaluation import load_feature_network; load_feature_network()"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=True)
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_a_missing_file_in_one_line(tmp_path: Path, in_process):
    result = in_process(tmp_path / "none.npz")
    assert result.returncode == 2
    assert (
        result.stderr
        == f"python -m common.evaluation: there is no file {tmp_path / 'none.npz'}: pass the samples.npz of a run\n"
    )


@pytest.mark.parametrize("damage", ["truncated", "text", "other key", "objects", "npy", "scalar"])
def test_the_command_refuses_a_foreign_file_in_one_line(damage: str, tmp_path: Path, in_process):
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
    result = in_process(path)
    assert result.returncode == 2
    assert result.stderr.startswith("python -m common.evaluation: ")
    assert result.stderr.count("\n") == 1


def test_a_json_file_in_no_folder_is_refused_before_the_work(tmp_path: Path, in_process):
    result = in_process("samples.npz", "--json", tmp_path / "no" / "x.json")
    assert result.returncode == 2
    assert "name a file in a folder that exists" in result.stderr


def test_the_result_does_not_take_the_place_of_the_samples(tmp_path: Path, mnist: Dataset, in_process):
    samples = tmp_path / "samples.npz"
    np.savez(samples, images=mnist.test_images[:1000])
    before = samples.read_bytes()
    result = in_process(samples, "--quick", "--json", samples)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "holds the samples: name another file" in result.stderr
    assert samples.read_bytes() == before


def test_a_user_without_a_home_has_no_cache_and_a_score_all_the_same(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert stored.cache_dir() is None
    network: Any = SimpleNamespace(sha256="0" * 64)
    found = stored.load_or_compute("no such file", network, compute=lambda: b"floors", decode=bytes)
    assert found == b"floors"
