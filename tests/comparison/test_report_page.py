"""What the page says and holds beyond the tables, without a browser: tests/slow/test_report_page.py opens one."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.pictures.compose import reduced, small_png
from common.records.recorded_run import FRAMEWORK_NAMES, Runs, read_run
from comparison.parity.ladder import RUNGS
from comparison.report import page
from comparison.report.cards import cards, quality_scale, start_up_seconds
from comparison.report.citation import citation
from comparison.report.environment import environment_rows
from comparison.report.figures import Drawn
from comparison.report.files import linked_files, without_dead_links
from comparison.report.palette import DARK, LIGHT
from comparison.report.parity import IN_PLAIN_WORDS, parity_rows, plain_rungs
from comparison.report.quality import scored_sets
from comparison.report.summary import summarise
from comparison.report.verdict import verdict
from comparison.report.write import write_report
from tests.certificates import write_certificate
from tests.synthetic_runs import real_digits, write_comparison, write_json

MAX_BYTES = 4_000_000


def runs_of(folder: Path) -> Runs:
    found = {name: read_run(folder / name, name) for name in FRAMEWORK_NAMES}
    return {name: run for name, run in found.items() if run is not None}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return runs_of(write_comparison(tmp_path_factory.mktemp("runs") / "page"))


def results_of(runs: Runs, **parity: Any) -> dict[str, Any]:
    """comparison.json of the runs, certified unless told otherwise."""
    rung = {"kind": "steps", "rung": 8, "precision": "float64", "measured": 1e-14, "tolerance": 1e-12, "holds": True}
    certified = {"holds": True, "reason": "", "quick": True, "rungs": [{**rung, "num_measurements": 12}]}
    return summarise(runs, {**certified, **parity})


# Its size, and what may run in it


def test_a_report_of_the_default_run_is_one_file_of_less_than_four_megabytes(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path, epochs=10, steps_per_epoch=937)
    write_report(folder, real_digits(64))
    assert (folder / "report.html").stat().st_size < MAX_BYTES


def test_the_policy_allows_the_page_s_own_scripts_and_no_other(runs: Runs) -> None:
    context = page.page_context(runs, {}, {})
    hashes = re.findall(r"'sha256-([^']+)'", context["policy"])
    own = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in context["scripts"]]
    assert hashes == own
    assert context["policy"].startswith("default-src 'none'")


def test_no_text_in_the_data_can_end_its_element(runs: Runs) -> None:
    named = {name: run for name, run in runs.items()}
    data = page.page_context(named, {}, {})["data"]
    assert "<" not in data
    assert json.loads(data)["frameworks"] == [{"key": key, "name": name} for key, name in FRAMEWORK_NAMES.items()]


def test_both_themes_give_every_role_a_colour() -> None:
    assert LIGHT.keys() == DARK.keys()


# Curves and pictures


def test_every_step_of_a_short_run_is_a_point(runs: Runs) -> None:
    curves = page.page_data(runs)["curves"]
    assert curves["steps_per_point"] == 1
    assert curves["steps"] == list(range(1, 121))
    drawn = curves["series"]["generator_loss"]["jax"]
    np.testing.assert_allclose(drawn, runs["jax"].losses["generator_loss"], rtol=1e-3)


def test_a_point_of_a_long_run_is_the_mean_of_steps(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_POINTS", 50)
    curves = page.page_data(runs)["curves"]
    assert curves["steps"] == list(range(3, 121, 3))
    first = curves["series"]["real_score"]["torch"][0]
    assert first == pytest.approx(runs["torch"].losses["real_score"][:3].mean(), rel=1e-3)


def test_every_epoch_has_a_grid_of_both_and_its_last_step(runs: Runs) -> None:
    data = page.page_data(runs)
    assert data["epochs"] == [{"epoch": epoch, "step": 40 * epoch} for epoch in range(4)]
    assert {name: len(frames) for name, frames in data["frames"].items()} == {"torch": 4, "jax": 4}


def test_of_too_many_epochs_the_first_the_last_and_some_between_are_shown(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = page.reduced_grid_size(runs["torch"])
    monkeypatch.setattr(page, "MAX_FRAME_BYTES", 3 * grid)
    assert [each["epoch"] for each in page.page_data(runs)["epochs"]] == [0, 2, 3]


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)], ids=["grey", "colour"])
def test_a_small_png_is_nearly_the_picture(shape: tuple[int, ...], tmp_path: Path) -> None:
    picture = np.linspace(0, 255, np.prod(shape)).reshape(shape).astype(np.uint8)
    (tmp_path / "small.png").write_bytes(small_png(picture))
    with Image.open(tmp_path / "small.png") as image:
        read = np.asarray(image.convert("RGB" if picture.ndim == 3 else "L"), int)
    assert np.abs(read - picture).max() <= (8 if picture.ndim == 2 else 40)


def test_a_reduced_picture_has_the_means_of_its_squares() -> None:
    picture = np.array([[0, 100, 8, 8], [100, 0, 8, 8]], np.uint8)
    assert reduced(picture, 2).tolist() == [[50, 8]]


# Verdict, cards and scale


def test_the_verdict_names_speed_sameness_and_quality_each_with_a_mark(runs: Runs) -> None:
    claims = verdict(results_of(runs))
    assert [claim.subject for claim in claims] == ["Speed", "Sameness", "Quality"]
    assert [claim.mark for claim in claims] == ["indicative", "verified", "indicative"]
    assert "12 of 12 checks pass" in claims[1].sentence
    assert "0.658 ± 0.004 in PyTorch and 0.671 ± 0.004 in JAX; real images have 0.0562" in claims[2].sentence


def test_without_a_certificate_speed_and_sameness_are_not_measured(runs: Runs) -> None:
    claims = verdict(results_of(runs, holds=None, reason="nobody climbed"))
    assert [claim.mark for claim in claims][:2] == ["not measured", "not measured"]
    assert "nobody climbed" in claims[0].sentence
    assert "nobody climbed" in claims[1].sentence


def test_every_sentence_of_verdict_and_cards_is_short(runs: Runs) -> None:
    results = results_of(runs)
    texts = [claim.sentence for claim in verdict(results)] + [card.meaning for card in cards(results)]
    for sentence in (sentence for text in texts for sentence in re.split(r"(?<=[.:;]) ", text)):
        assert len(sentence.split()) <= 25, sentence


def test_the_faster_framework_is_named_first(runs: Runs) -> None:
    swapped = {"torch": runs["jax"], "jax": runs["torch"]}
    assert "PyTorch trains 1.17 times as many" in verdict(results_of(runs))[0].sentence
    assert "JAX trains 1.17 times as many" in verdict(results_of(swapped))[0].sentence


def test_start_up_ends_where_the_first_chunk_is_no_slower_than_others() -> None:
    framework = {
        "steady_images_per_second": {"median": 640.0},
        "first_chunk_seconds": 5.0,
        "chunk_size": 20,
        "import_seconds": 1.0,
        "data_loading_seconds": 0.5,
        "build_seconds": 0.25,
    }
    assert start_up_seconds(framework, 64) == pytest.approx(1.75 + 3)
    assert start_up_seconds({**framework, "first_chunk_seconds": 1.0}, 64) == pytest.approx(1.75)
    assert start_up_seconds({**framework, "build_seconds": None}, 64) is None


def test_cards_stand_on_a_scale_from_zero(runs: Runs) -> None:
    speed, start_up, memory, quality = cards(results_of(runs))
    assert speed.rows[1].points[0] < speed.rows[0].points[0] < 100
    assert [row.points[0] for row in memory.rows] == pytest.approx([100 * 812 / 1240, 100])
    assert [row.key for row in quality.rows] == ["torch", "jax", "real"]
    assert "PyTorch is ready" in start_up.meaning
    assert "n = 1" in start_up.meaning


def test_a_run_that_never_trained_has_a_line_without_dots(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path)
    for name in ("timing.json", "metrics.json"):
        (folder / "jax" / name).unlink()
    (folder / "torch/metrics.json").unlink()
    assert cards(results_of(runs_of(folder)))[-1].unit == ""
    for card in cards(results_of(runs_of(folder))):
        assert card.rows[1].points == []
        assert card.rows[1].text == "not measured"


def test_the_scale_goes_from_the_worst_set_to_real_ones(runs: Runs) -> None:
    sets = {**scored_sets(results_of(runs)["frameworks"]), "uniform noise": {"frechet_distance": 621.0}}
    rows = quality_scale(sets)
    assert [row.label for row in rows] == ["uniform noise", "JAX / Flax NNX", "PyTorch", "real digits"]
    assert [row.points[0] for row in rows][::3] == pytest.approx([0, 100])
    assert [row.key for row in rows] == ["soft", "jax", "torch", "real"]


# Parity in plain words


def test_every_rung_has_a_plain_sentence() -> None:
    assert list(IN_PLAIN_WORDS) == [rung.__name__ for rung in RUNGS]


def test_a_rung_says_how_much_of_its_tolerance_it_uses_in_the_worse_precision() -> None:
    rung = {"rung": 3, "kind": "layers", "num_measurements": 4, "holds": True}
    exact, used = plain_rungs(
        [
            {**rung, "rung": 0, "kind": "specification", "precision": "float64", "measured": 0.0, "tolerance": 0.0},
            {**rung, "precision": "float64", "measured": 1e-14, "tolerance": 1e-12},
            {**rung, "precision": "float32", "measured": 5e-6, "tolerance": 1e-5},
        ]
    )
    assert (exact.used, exact.num_checks) == (None, 4)
    assert (used.used, used.num_checks, used.sentence) == (0.5, 8, IN_PLAIN_WORDS["layers"])


def test_a_measurement_just_below_its_tolerance_does_not_read_like_it() -> None:
    rung = {"rung": 8, "kind": "steps", "holds": True, "where": "", "precision": "float32"}
    (row,) = parity_rows([{**rung, "measured": 0.016921, "tolerance": 0.016934}])
    assert row.cells[1] == "1.692e-02 of 1.693e-02"


# Environment, files, citation


def test_what_both_have_is_said_once_and_what_differs_is_side_by_side() -> None:
    found = environment_rows(
        {
            "torch": {
                "python": "3.11.7",
                "device": "cpu",
                "packages": {"numpy": "2.3", "torch": "2.14"},
                "command": [],
            },
            "jax": {"python": "3.11.7", "device": "gpu", "packages": {"numpy": "2.3", "jax": "0.10"}, "command": []},
        }
    )
    assert [(row.label, *row.cells) for row in found.shared] == [("python", "3.11.7"), ("packages", "numpy 2.3")]
    assert [(row.label, *row.cells) for row in found.different] == [
        ("device", "cpu", "gpu"),
        ("packages: torch", "2.14", "-"),
        ("packages: jax", "-", "0.10"),
    ]


def test_only_files_that_exist_are_linked(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path)
    (folder / "jax/losses.csv").unlink()
    paths = [found.path for found in linked_files(folder, ["torch", "jax"])]
    assert "torch/losses.csv" in paths
    assert "jax/losses.csv" not in paths
    assert "report.html" in paths


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_published_report_links_no_file_that_was_not_copied(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())
    folder = write_comparison(tmp_path / "run")
    write_report(folder, real_digits(64))
    (published := tmp_path / "published").mkdir()
    (published / "comparison.json").write_text("{}")
    text = without_dead_links((folder / name).read_text(), published).partition("<script")[0]
    links = set(re.findall(r'<a [^>]*href="([^"#]+)"', text)) | set(re.findall(r"\]\(([^)]+)\)", text))
    assert links - {"progress.gif"} == {"comparison.json"}
    assert "scores, one row a step" not in text


def test_a_citation_has_preset_device_versions_sources_and_interval(runs: Runs) -> None:
    results = results_of(runs)
    results["images_per_second_ratio"]["torch/jax"] = {"median": 1.2, "low": 1.1, "high": 1.3, "num_rounds": 9}
    text = citation(results)
    for part in (
        "dcgan32",
        "seed 0",
        "torch 2.14.1",
        "flax 0.12.8",
        "device cpu",
        "5f2c (torch)",
        "1.10 to 1.30, n = 9",
    ):
        assert part in text


def test_a_citation_of_runs_that_are_not_certified_says_that_there_is_no_ratio(runs: Runs) -> None:
    assert "No speed ratio is printed" in citation(results_of(runs, holds=False, reason="it fails"))


@pytest.mark.usefixtures("runs")
def test_certified_runs_have_a_badge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())
    folder = write_comparison(tmp_path)
    write_certificate(folder)
    write_report(folder, real_digits(64))
    html = (folder / "report.html").read_text()
    assert '<p class="badge verified">15 of 15 checks pass</p>' in html
    write_json(folder / "parity.json", {**json.loads((folder / "parity.json").read_text()), "holds": False})
    write_report(folder, real_digits(64))
    assert 'class="badge' not in (folder / "report.html").read_text()
