"""The quality chapter of the report: values beside floors, the protocol, bad sets, digits of each class, neighbours."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from common.data.datasets import load_dataset
from common.errors import UserError
from common.evaluation import calibration
from common.evaluation.catalogue import METRICS, OTHER
from common.records.recorded_run import RecordedRun, read_run
from comparison.publish import seeds
from comparison.report import quality
from comparison.report.charts import epoch_quality_figure
from comparison.report.figures import Drawn
from comparison.report.image_panels import EMPTY, GAP, SCALE, classes_panels, neighbours_panels
from comparison.report.protocol import not_comparable
from comparison.report.quality import calibration_table, measured, quality_groups, relation_to_floor
from comparison.report.write import print_summary, write_report
from tests import synthetic_runs
from tests.synthetic_runs import (
    NUM_SAMPLES,
    PROTOCOL,
    old_metrics,
    real_digits,
    write_comparison,
    write_json,
    write_run,
)

ROOT = Path(__file__).parents[2]
BAD_SETS = {
    "uniform noise": {"frechet_distance": 98.2, "coverage": 0.0},
    "binarised": {"frechet_distance": 0.11, "coverage": 0.92},
    "one class only": {"coverage": 0.104},
}
SHA256 = PROTOCOL["network_sha256"]
TIMES_FLOOR = "11.7 times what real images score"


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes nearly all of a report's time."""
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())


def change_metrics(folder: Path, framework: str, **changes: Any) -> None:
    """Write metrics.json of a run anew with other fields."""
    path = folder / framework / "metrics.json"
    write_json(path, {**json.loads(path.read_text()), **changes})


def reported(folder: Path) -> tuple[str, str]:
    """report.html, its line breaks taken out, and report.md."""
    write_report(folder, real_digits(64))
    return re.sub("[ \n]+", " ", (folder / "report.html").read_text()), (folder / "report.md").read_text()


def recorded(folder: Path, framework: str = "torch") -> RecordedRun:
    """The run in the folder."""
    run = read_run(folder, framework)
    assert run is not None
    return run


def framework(**metrics: Any) -> dict[str, Any]:
    """What comparison.json says of a framework's scores."""
    return {"quality": metrics, "quality_protocol": PROTOCOL, "discriminator_features": None}


# The table


@pytest.mark.parametrize(
    ("name", "value", "floor", "text"),
    [
        ("frechet_distance", 0.658, 0.0562, "11.7 times what real images score"),
        ("coverage", 0.69, 0.9363, "74 % of what real images score"),
        ("frechet_distance", 1.0, 0.0, ""),
        ("frechet_distance", 1.0, -0.1, ""),
        ("kid", 0.01, 0.004, "0.00600 above real images"),
        ("kid", -0.5, 0.004, "0.504 below real images"),
        ("num_missing_classes", 0.0, 0.0, "as real images"),
        ("kid", 0.5, None, ""),
        ("path_length", 0.5, 0.4, ""),
    ],
)
def test_a_value_is_a_multiple_of_its_floor_or_a_distance_from_it(
    name: str, value: float, floor: float | None, text: str
) -> None:
    assert relation_to_floor(METRICS[name], value, floor) == text


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.6583, 0.0041, "0.658 ± 0.004"),
        (0.6583, 0.00002, "0.658 ± 2.0e-5"),
        (27.52, 0.41, "27.5 ± 0.4"),
        (1183.2, 141.3, "1,183 ± 141"),
        (2.0e-6, 1.0e-6, "2.0e-6 ± 1.0e-6"),
        (0.9, None, "0.900"),
    ],
)
def test_a_spread_is_shown_to_the_decimals_of_its_value(value: float, spread: float | None, text: str) -> None:
    assert measured(value, spread) == text


def test_the_table_has_every_metric_once_and_an_unknown_one_at_the_end() -> None:
    metric = {"value": 1.0, "spread": None, "floor": 2.0}
    names = ["of_next_year", *reversed(METRICS)]
    groups = quality_groups({"torch": framework(**dict.fromkeys(names, metric))})
    assert sum(len(rows) for rows in groups.values()) == len(METRICS) + 1
    assert groups["Distribution"][0].label.startswith("Fréchet distance")
    assert list(groups)[-1] == OTHER
    assert [row.label for row in groups[OTHER]] == ["of_next_year"]


def test_a_metric_that_only_the_second_framework_has_is_shown() -> None:
    metric = {"value": 1.5, "spread": None, "floor": 2.0}
    (row,) = quality_groups({"torch": framework(), "jax": framework(kid=metric)})["Distribution"]
    assert list(row.cells) == ["-", "1.50", "2"]


@pytest.mark.usefixtures("no_figures")
def test_relation_range_and_standard_error_stand_below_the_cells(tmp_path: Path) -> None:
    html, markdown = reported(write_comparison(tmp_path, epochs=1))
    assert f"<small>{TIMES_FLOOR}</small>" in html
    assert "<small>0.0531 to 0.0598</small>" in html
    assert "<small>0.0182 above real images</small><small>standard error of a draw 0.00060</small>" in html
    assert f"0.658 ± 0.004<br><sub>{TIMES_FLOOR}</sub> |" in markdown
    assert "Memorisation: screening, not proof" in html


def test_the_old_form_of_the_scores_is_still_reported(tmp_path: Path) -> None:
    write_comparison(tmp_path, epochs=1)
    for name in ("torch", "jax"):
        write_json(tmp_path / name / "metrics.json", old_metrics(name))
    html, _ = reported(tmp_path)
    quality = html[html.index('id="quality"') :]
    assert f"<small>{TIMES_FLOOR}</small>" in quality
    assert "±" not in quality
    assert "In small print" not in quality
    assert "What the discriminator has learnt" not in quality
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures.isdisjoint({"classes.png", "neighbours.png"})


# The protocol


@pytest.mark.usefixtures("no_figures")
def test_the_protocol_is_printed_with_the_numbers(tmp_path: Path) -> None:
    _, markdown = reported(write_comparison(tmp_path, epochs=1))
    for words in (
        "10,000 generated digits of 32 px against 10,000 real ones (MNIST test digits)",
        "128 features",
        f"SHA-256 {SHA256[:12]}...",
        "k = 5",
        "100 subsets of 1,000, seed 0",
        "BatchNorm in eval mode",
        "weights: exponential average of the generator&#39;s",
        "the last one, never the best by a metric that is reported",
        "mean over 5 draws",
        "Floor: six disjoint blocks of training digits",
    ):
        assert words in markdown
    assert "not comparable" not in markdown


@pytest.mark.usefixtures("no_figures")
def test_scores_of_other_sets_are_called_not_comparable_beside_both_tables(tmp_path: Path) -> None:
    write_comparison(tmp_path, epochs=1)
    for name in ("torch", "jax"):
        change_metrics(tmp_path, name, protocol={**PROTOCOL, "comparable": False, "num_draws": 1, "kid": None})
    html, markdown = reported(tmp_path)
    console = Console(width=200, file=io.StringIO())
    print_summary(write_report(tmp_path, real_digits(64)), console)
    assert isinstance(console.file, io.StringIO)
    assert "Scores not comparable" in console.file.getvalue()
    assert html.count('<p class="refused">Scores not comparable') == 2
    assert markdown.count("**Scores not comparable") == 2
    assert "One draw of the generator" in markdown
    assert "subsets" not in markdown


@pytest.mark.usefixtures("no_figures")
def test_an_alarm_is_said_beside_both_tables_and_no_digit_set_is_not_called_comparable(tmp_path: Path) -> None:
    write_comparison(tmp_path, epochs=1)
    alarm = {"name": "turned", "sentence": "74 % are mirrored (real digits: 2 %)", "value": 0.74, "floor": 0.02}
    change_metrics(tmp_path, "jax", protocol={**PROTOCOL, "comparable": False, "warnings": [alarm]})
    html, markdown = reported(tmp_path)
    assert html.count('<p class="refused">Alarm: 74 % are mirrored (real digits: 2 %).</p>') == 2
    assert markdown.count("\n**Alarm: 74 % are mirrored (real digits: 2 %).**\n") == 2
    assert "an alarm says that these are not digits" in markdown
    assert "not scored by the same protocol" not in markdown


@pytest.mark.usefixtures("no_figures")
def test_an_alarm_of_both_runs_is_told_once_and_those_of_older_runs_each():
    told = [("repeated", "48 % repeat"), ("warning", "an old one"), ("repeated", "52 % repeat"), ("warning", "another")]
    warnings = [{"name": name, "sentence": sentence} for name, sentence in told]
    halves = {
        name: {"quality_protocol": {"network_sha256": "0", "warnings": warnings[first : first + 2]}}
        for name, first in (("torch", 0), ("jax", 2))
    }
    assert not_comparable(halves) == ["Alarm: 48 % repeat.", "Alarm: an old one.", "Alarm: another."]


def test_two_runs_scored_by_different_protocols_are_not_comparable(tmp_path: Path) -> None:
    write_comparison(tmp_path, epochs=1)
    change_metrics(tmp_path, "jax", protocol={**PROTOCOL, "batch_norm": "train"})
    html, _ = reported(tmp_path)
    assert "not scored by the same protocol; different: batch norm." in html


# What stands beside the metrics


def test_floor_runs_and_stored_sets_stand_in_the_order_of_their_distances() -> None:
    scores = framework(frechet_distance={"value": 0.658, "floor": 0.0562}, coverage={"value": 0.69, "floor": 0.9363})
    headings, rows = calibration_table({"torch": scores}, BAD_SETS, SHA256)
    assert headings == ["Fréchet distance\xa0↓", "Coverage\xa0↑"]
    assert [(row.label, *row.cells) for row in rows] == [
        ("real digits", "0.0562", "0.936"),
        ("binarised", "0.110", "0.920"),
        ("PyTorch", "0.658", "0.690"),
        ("uniform noise", "98.2", "0"),
        ("one class only", "-", "0.104"),
    ]


@pytest.mark.parametrize("change", [{"comparable": False}, {"network_sha256": "0"}])
def test_bad_sets_are_not_shown_beside_scores_of_another_protocol(change: dict[str, Any]) -> None:
    scores = framework(coverage={"value": 0.69, "floor": 0.9363})
    other = {**scores, "quality_protocol": {**PROTOCOL, **change}}
    assert calibration_table({"torch": scores, "jax": other}, BAD_SETS, SHA256)[1] == []


@pytest.mark.usefixtures("no_figures")
def test_bad_sets_are_in_the_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(quality, "stored_calibration", lambda: BAD_SETS)
    monkeypatch.setattr(quality, "committed_sha256", lambda: SHA256)
    html, markdown = reported(write_comparison(tmp_path, epochs=1))
    assert "uniform noise" in html
    assert "| one class only | - | 0.104 |" in markdown


def test_stored_bad_sets_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "committed_sha256", lambda: SHA256)
    with pytest.raises(UserError, match=r"calibration\.json is of another feature network"):
        calibration.stored_calibration()


@pytest.mark.usefixtures("no_figures")
def test_accuracies_on_discriminator_features_stand_under_the_number_of_labels(tmp_path: Path) -> None:
    write_comparison(tmp_path, epochs=1)
    path = tmp_path / "jax" / "metrics.json"
    content = json.loads(path.read_text())
    del content["discriminator_features"]
    write_json(path, content)
    html, markdown = reported(tmp_path)
    assert "Radford et al. 2016, section 5" in html
    few, many = markdown[markdown.index("**1,000 labels**") :].split("**10,000 labels**")
    assert "| Discriminator (as trained) | 93.2 % | - |" in few
    assert "| Raw pixels (no network) | 90.3 % | - |" in many


# The figures


def shown(figure: Figure) -> np.ndarray:
    """The picture of the first panel, an image's pixel as one again."""
    return np.asarray(figure.images[0].get_array())[::SCALE, ::SCALE, 0]


def cell(picture: np.ndarray, row: int, column: int, *, size: int) -> np.ndarray:
    """One image of a tiled picture."""
    top, left = row * (size + GAP), column * (size + GAP)
    return picture[top : top + size, left : left + size]


def test_the_strip_shows_each_named_sample_and_empty_cells_for_a_missing_class(tmp_path: Path) -> None:
    write_run(tmp_path / "jax", "jax", epochs=1)
    examples = json.loads((tmp_path / "jax/metrics.json").read_text())["class_examples"]
    examples[4] = []
    change_metrics(tmp_path, "jax", class_examples=examples)
    figure = classes_panels({"jax": recorded(tmp_path / "jax", "jax")}).figure()
    picture = shown(figure)
    digits = real_digits(NUM_SAMPLES)
    np.testing.assert_array_equal(cell(picture, 7, 3, size=32)[2:-2, 2:-2], digits[examples[7][3]])
    assert all((cell(picture, 4, column, size=32) == EMPTY).all() for column in range(10))
    assert (cell(picture, 8, 3, size=32) == EMPTY).all()  # JAX has three samples of it
    words = [text.get_text() for text in figure.texts]
    assert words[:11] == ["JAX / Flax NNX", *"0123456789"]
    caption = "samples by the digit a classifier takes them for, the first ten of each."
    assert " ".join(words[11:]) == f"dcgan32 on mnist, seed 0: {caption}"


def test_a_neighbour_stands_below_its_sample_with_the_ratio_of_distances(tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch", epochs=1)
    pair = {"sample": 7, "training_image": 59_999, "distance": 1.5, "own_distance": 2.0}
    change_metrics(tmp_path, "torch", nearest_neighbours=[pair])
    training_digits = load_dataset("mnist").train_images
    figure = neighbours_panels({"torch": recorded(tmp_path / "torch")}, training_digits).figure()
    picture = shown(figure)
    np.testing.assert_array_equal(cell(picture, 0, 0, size=28), real_digits(8)[7])
    np.testing.assert_array_equal(cell(picture, 1, 0, size=28), training_digits[59_999])
    assert (cell(picture, 1, 1, size=28) == EMPTY).all()
    assert "0.75" in [text.get_text() for text in figure.texts]


def test_the_report_does_without_samples_that_were_deleted(tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch", epochs=1)
    (tmp_path / "torch/samples.npz").unlink()
    write_report(tmp_path, real_digits(64))
    assert not (tmp_path / "figures/classes.png").exists()


# Damaged records


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.zeros((NUM_SAMPLES - 100, 32, 32), np.uint8), r"names sample 1\d\d, but samples.npz has 100"),
        (np.zeros((NUM_SAMPLES, 32, 32), np.float32), "samples.npz: .* must be uint8"),
        (np.zeros((NUM_SAMPLES, 32, 30), np.uint8), r"samples.npz has images \(200, 32, 30\)"),
        (np.zeros((NUM_SAMPLES, 32, 32, 3), np.uint8), r"samples.npz has images \(200, 32, 32, 3\)"),
        (np.zeros((NUM_SAMPLES, 0, 0), np.uint8), r"samples.npz has images \(200, 0, 0\)"),
    ],
)
def test_samples_that_are_not_those_that_were_scored_are_one_line(
    images: np.ndarray, reason: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "torch", "torch", epochs=1)
    np.savez(tmp_path / "torch" / "samples.npz", images=images)
    with pytest.raises(UserError, match=reason) as info:
        read_run(tmp_path / "torch", "torch")
    assert len(str(info.value).splitlines()) == 1


PAIR = {"sample": 0, "training_image": 0, "distance": 1.0, "own_distance": 1.0}
ACCURACY = {"discriminator": [0.9, 0.9], "untrained discriminator": [0.9, 0.9], "pixels": [0.9, 0.9]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_examples", [[0]] * 9),
        ("class_examples", [[0]] * 11),
        ("class_examples", [[0] * 11, *[[]] * 9]),
        ("class_examples", [[-1], *[[]] * 9]),
        ("class_examples", [[True], *[[]] * 9]),
        ("class_examples", [[0.5], *[[]] * 9]),
        ("class_examples", {}),
        ("nearest_neighbours", [PAIR] * 11),
        ("nearest_neighbours", [{**PAIR, "training_image": 60_000}]),
        ("nearest_neighbours", [{**PAIR, "training_image": -1}]),
        ("nearest_neighbours", [{**PAIR, "sample": "0"}]),
        ("nearest_neighbours", [{**PAIR, "distance": -1}]),
        ("nearest_neighbours", [{**PAIR, "own_distance": 1e300}]),
        ("nearest_neighbours", [{**PAIR, "own_distance": None}]),
        ("discriminator_features", {"labels": [1000], "accuracy": ACCURACY}),
        ("discriminator_features", {"labels": [1000, 10_000], "accuracy": {**ACCURACY, "pixels": [0.9]}}),
        ("discriminator_features", {"labels": [1000, 10_000], "accuracy": {**ACCURACY, "pixels": [0.9, 1.1]}}),
        ("discriminator_features", {"labels": [1000, 10_000], "accuracy": {"pixels": [0.9, 0.9]}}),
        ("metrics", {"kid": {"value": 1.0, "floor_low": "0"}}),
        ("metrics", {"kid": {"value": 1.0, "standard_error": 1e300}}),
        ("metrics", {"kid": {"value": None}}),
        ("protocol", {**PROTOCOL, "num_draws": -1}),
        ("protocol", {**PROTOCOL, "kid": {"num_subsets": 1}}),
        ("protocol", {**PROTOCOL, "weights": ["last"]}),
        ("protocol", {**PROTOCOL, "checkpoint": "x" * 20_000}),
    ],
)
def test_a_field_of_the_scores_that_cannot_be_shown_is_refused_by_name(field: str, value: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch", epochs=1)
    write_json(tmp_path / "torch" / "metrics.json", {**synthetic_runs.metrics("torch"), field: value})
    with pytest.raises(UserError, match=rf"metrics\.json is damaged \({field}"):
        read_run(tmp_path / "torch", "torch")


# Over seeds


def test_the_summary_over_seeds_has_the_metrics_that_every_run_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seeds, "RECORD", tmp_path / "seeds.json")
    monkeypatch.setattr(seeds, "FIGURE", tmp_path / "quality" / "seeds.svg")
    folders = [write_comparison(tmp_path / str(seed), epochs=1, seed=seed) for seed in (0, 1)]
    write_json(folders[1] / "jax/metrics.json", old_metrics("jax"))
    seeds.publish(folders)
    printed = capsys.readouterr().out
    assert "| KID | 0.0184 (0.0184 to 0.0184) | 0.0191 (0.0191 to 0.0191) | 0.000210 |" in printed
    assert "Path length" not in printed
    assert json.loads(seeds.RECORD.read_text())["values"]["kid"] == {"torch": [0.0184] * 2, "jax": [0.0191] * 2}
    assert b"n = 2" in seeds.FIGURE.read_bytes()


def test_scores_of_other_data_say_why_the_digit_metrics_are_missing_and_leave_no_hole(
    tmp_path: Path, no_figures: None
) -> None:
    write_run(tmp_path / "torch", "torch", epochs=1)
    path = tmp_path / "torch" / "metrics.json"
    scores = json.loads(path.read_text())
    del scores["class_histogram"], scores["class_examples"]
    scores["protocol"] |= {"features": "64 principal components of the pixels", "comparable": False}
    write_json(path, {**scores, "discriminator_features": None})
    write_report(tmp_path, real_digits(64))
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert "not the digits of MNIST" in text
        assert "see pixels only" in text
        assert "grey or blurred samples are near many pictures" in text
        assert "Classes</h3>" not in text
        assert "### Classes" not in text


def test_the_quick_scores_of_the_epochs_are_a_curve(tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch", epochs=3)
    figure = epoch_quality_figure({"torch": recorded(tmp_path / "torch")})
    curve, floor = figure.axes[0].get_lines()
    assert np.asarray(curve.get_ydata()).tolist() == [90, 45, 30]
    assert np.asarray(floor.get_ydata()).tolist() == [0.15, 0.15]


OWN = {"features": "the 512 features of cats.onnx (SHA-256 0123456789ab...)", "comparable": False, "num_features": 512}


@pytest.mark.usefixtures("no_figures")
def test_scores_by_a_network_of_one_s_own_are_said_to_see_what_it_sees(tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch", epochs=1)
    change_metrics(tmp_path, "torch", protocol={**PROTOCOL, **OWN, "num_generated": 250, "frechet_components": 64})
    for text in reported(tmp_path):
        assert "so there is no MNIST score" in text
        assert "Compared by the 512 features of cats.onnx (SHA-256 0123456789ab...)" in text
        assert "These metrics see what the network of --features tells apart, and nothing else" in text
        assert "along the 64 principal components of its features that vary most: 250 images are too few" in text
        assert "pixels only" not in text


def test_scores_by_different_features_are_not_held_side_by_side(tmp_path: Path) -> None:
    write_comparison(tmp_path, epochs=2)
    change_metrics(tmp_path, "torch", protocol={**PROTOCOL, **OWN})
    other = {**PROTOCOL, **OWN, "features": "64 principal components of the pixels", "network_sha256": "1" * 64}
    change_metrics(tmp_path, "jax", protocol=other)
    path = tmp_path / "torch" / "environment.json"
    write_json(path, {**json.loads(path.read_text()), "features": {"file": "cats.onnx", "sha256": SHA256}})
    for text in reported(tmp_path):
        reason = (
            "different features: PyTorch by the 512 features of cats.onnx (SHA-256 0123456789ab...), JAX / Flax NNX"
        )
        assert text.count(f"{reason} by 64 principal components of the pixels") == 2
        for absent in ("Fréchet distance\xa0↓", "Coverage\xa0↑", ">real images</th>", "same protocol"):
            assert absent not in text
    assert not (tmp_path / "figures" / "epoch_quality.svg").exists()
