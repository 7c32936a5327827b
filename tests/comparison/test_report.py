"""The report says what the run folders say, refuses what cannot be compared, and shows what is missing."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import comparison.report.figures
from common.errors import UserError
from common.pictures.animation import animate, find_model, find_progress
from common.records.recorded_run import read_run
from comparison.report.figures import Drawn
from comparison.report.image_panels import samples_panels, tile
from comparison.report.summary import first_step_above, loss_agreement, relative_difference
from comparison.report.write import print_summary, write_report
from comparison.text import difference, duration, number, tolerance
from tests.certificates import write_certificate
from tests.synthetic_runs import CONFIG, METRICS, real_digits, write_comparison, write_json, write_run

FIGURES = {
    "discriminator_loss.svg",
    "generator_loss.svg",
    "real_score.svg",
    "fake_score.svg",
    "loss_difference.svg",
    "samples.png",
    "progress.png",
    "class_histogram.svg",
    "classes.png",
    "neighbours.png",
    "step_time.svg",
    "epoch_quality.svg",
}
HOSTILE = '<script>alert("1|2")</script>'
RATIO = "times as many images per second"
NO_RATIO = "No speed ratio is printed"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs without a parity certificate, reported."""
    folder = write_comparison(tmp_path_factory.mktemp("runs") / "finished")
    write_report(folder, real_digits(64))
    return folder


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes nearly all of a report's time."""
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())


def reported(folder: Path) -> tuple[dict, str, str]:
    """comparison.json, report.html and report.md of a fresh report."""
    write_report(folder, real_digits(64))
    read = {name: (folder / name).read_text() for name in ("comparison.json", "report.html", "report.md")}
    return json.loads(read["comparison.json"]), read["report.html"], read["report.md"]


def test_runs_of_different_configuration_are_refused_and_the_fields_named(tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch", seed=1, batch_size=32)
    write_run(tmp_path / "jax", "jax", seed=2, batch_size=32)
    with pytest.raises(ValueError, match=r"differ in seed \(1 / 2\)\."):
        write_report(tmp_path, real_digits(64))
    assert not (tmp_path / "report.html").exists()


def test_a_field_that_only_one_configuration_has_is_a_difference(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    config = json.loads((tmp_path / "jax/config.json").read_text())
    write_json(tmp_path / "jax/config.json", {**config, "variant_of_jax": "scan"})
    with pytest.raises(ValueError, match="differ in variant_of_jax"):
        write_report(tmp_path, real_digits(64))


def test_a_folder_without_any_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no recorded run"):
        write_report(tmp_path, real_digits(64))


def test_all_figures_are_made_shown_and_linked(finished: Path) -> None:
    html, markdown = (finished / "report.html").read_text(), (finished / "report.md").read_text()
    assert {path.name for path in (finished / "figures").iterdir()} == FIGURES
    assert html.count('<svg role="img" aria-label="') == sum(name.endswith(".svg") for name in FIGURES)
    assert set(re.findall(r'src="figures/([^"]+)"', markdown)) == FIGURES
    for name in FIGURES:
        content = (finished / "figures" / name).read_bytes()
        if name.endswith(".svg"):
            assert b"<svg" in content
            assert f'href="figures/{name}"' in html
        else:
            with Image.open(io.BytesIO(content)) as image:
                assert min(image.size) > 200


def test_the_animation_stands_beside_the_report_and_is_linked_from_both(finished: Path) -> None:
    content = (finished / "progress.gif").read_bytes()
    assert find_model(finished) == "dcgan32 on mnist, seed 0"
    assert content == animate(find_progress(finished), model=find_model(finished))
    html, markdown = (finished / "report.html").read_text(), (finished / "report.md").read_text()
    assert html.count('href="progress.gif"') == 2  # below the grids, and among the files
    assert markdown.count("](progress.gif)") == 2


def test_every_figure_names_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    monkeypatch.setattr(
        comparison.report.figures,
        "_file",
        lambda _, figure: words.append(" ".join(text.get_text() for text in figure.texts)) or b'<svg viewBox=""/>',
    )
    write_report(write_comparison(tmp_path), real_digits(64))
    assert len(words) > 8
    assert all("dcgan32 on mnist, seed 0" in " ".join(found.split()) for found in words), words


@pytest.mark.usefixtures("no_figures")
def test_a_run_of_few_steps_is_said_to_be_one_before_any_number_and_below_its_samples(tmp_path: Path) -> None:
    write_comparison(tmp_path, steps_per_epoch=20)
    report = write_report(tmp_path, real_digits(64))
    said = "60 steps are too few: 100 % of the samples have a grey ground (real images: 0 %). Train for about 2,000, "
    assert report.notices == [f"{name}: {said}with --epochs 100" for name in ("PyTorch", "JAX / Flax NNX")]
    assert said in (tmp_path / "report.md").read_text().partition("## Summary")[0]
    run = read_run(tmp_path / "torch", "torch")
    assert run is not None
    assert said in samples_panels({"torch": run}, real_digits(64)).words
    write_comparison(tmp_path / "long", steps_per_epoch=700)
    assert write_report(tmp_path / "long", real_digits(64)).notices == []


def test_the_html_is_one_small_file_that_loads_nothing(finished: Path) -> None:
    html = (finished / "report.html").read_text()
    sources = re.findall(r'\bsrc\s*=\s*"([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html)
    assert all(source.startswith(("data:", "#")) for source in sources)
    links = set(re.findall(r'<a [^>]*href="([^"#]+)"', html))
    assert links >= {"comparison.json", "report.md", "figures/samples.png", "torch/losses.csv"} - {
        "figures/samples.png"
    }
    assert [link for link in links if not (finished / link).exists()] == []
    assert len(html) < 3e6


def test_no_temporary_file_is_left(finished: Path) -> None:
    assert not [path for path in finished.rglob("*") if path.name.endswith(".tmp")]


def test_the_numbers_of_comparison_json_are_those_of_the_runs(finished: Path) -> None:
    results = json.loads((finished / "comparison.json").read_text())
    for framework in ("torch", "jax"):
        timing = json.loads((finished / framework / "timing.json").read_text())
        copied = results["frameworks"][framework]
        for name in ("steady_images_per_second", "seconds_per_epoch", "first_chunk_seconds"):
            assert copied[name] == timing[name]
        assert copied["loop_overhead_fraction"] == timing["loop_overhead_fraction"]
        assert copied["peak_memory_bytes"] == timing["peak_memory_bytes"]
        assert copied["num_steady_chunks"] == len(timing["chunks"]) - 1
        assert copied["quality"] == json.loads((finished / framework / "metrics.json").read_text())["metrics"]
        assert results["config"] == json.loads((finished / framework / "config.json").read_text())


def test_every_metric_stands_beside_its_floor(finished: Path) -> None:
    markdown = (finished / "report.md").read_text()
    html = re.sub(r"<[^>]+>|\s+", " ", (finished / "report.html").read_text())
    for torch_value, jax_value, _, floor, *_ in METRICS.values():
        cells = [re.escape(number(value)) + r"(?: ± [^ <|]+)?" for value in (torch_value, jax_value, floor)]
        assert re.search(r"(?:<br>[^|]*)? \| ".join(cells), markdown)
        below = r" (?:[^±]*(?:real images|real images score|standard error of a draw [\d.]+))? *"
        assert re.search(below.join(cells), re.sub(" +", " ", html))


def test_without_a_certificate_both_speeds_but_no_ratio_are_shown(finished: Path) -> None:
    results = json.loads((finished / "comparison.json").read_text())
    assert results["parity"]["holds"] is None
    assert results["images_per_second_ratio"] is None
    for name in ("report.html", "report.md"):
        text = (finished / name).read_text()
        assert NO_RATIO in text
        assert RATIO not in text
        assert number(results["frameworks"]["jax"]["steady_images_per_second"]["median"]) in text


@pytest.mark.usefixtures("no_figures")
def test_a_certificate_that_holds_lets_the_ratio_be_printed(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    write_certificate(tmp_path)
    results, html, markdown = reported(tmp_path)
    speeds = {name: f["steady_images_per_second"] for name, f in results["frameworks"].items()}
    ratio = results["images_per_second_ratio"]["torch/jax"]
    assert ratio["median"] == speeds["torch"]["median"] / speeds["jax"]["median"]
    assert ratio["low"] == speeds["torch"]["low"] / speeds["jax"]["high"]
    assert f"{number(ratio['median'])} {RATIO}" in html
    assert f"{number(ratio['median'])} {RATIO}" in markdown
    assert "15 of 15 checks pass" in markdown
    assert html.count("15 of 15 checks pass") == 2  # verdict, badge
    assert "| 8 steps | 3.0e-14 of 1e-12 | - |" in markdown


def in_rounds(folder: Path, framework: str, seconds: list[float], rounds: list[str | None]) -> None:
    """Record one epoch a round, whose chunks each took so long; the first chunk of all took a minute longer."""
    path = folder / framework / "timing.json"
    timing = json.loads(path.read_text())
    for chunk in timing["chunks"]:
        chunk["seconds"] = seconds[(chunk["step"] - 1) // 40]
    timing["chunks"][0]["seconds"] += 60
    rates = [64 * chunk["num_steps"] / chunk["seconds"] for chunk in timing["chunks"][1:]]
    timing["steady_images_per_second"] = {"median": float(np.median(rates)), "low": min(rates), "high": max(rates)}
    parts = {"training_seconds": 1.0, "data_seconds": 0.0, "evaluation_seconds": 0.0, "images_per_second": 1.0}
    timing["epochs"] = [
        {"epoch": epoch, **parts, "round_began_at": began_at} for epoch, began_at in enumerate(rounds, start=1)
    ]
    write_json(path, timing)


@pytest.mark.usefixtures("no_figures")
def test_the_ratio_of_runs_in_turns_is_the_median_within_rounds_whatever_slowed_a_round(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    write_certificate(tmp_path)
    in_rounds(tmp_path, "torch", [1.0, 10.0, 1.0], ["10:00", "10:05", "10:10"])
    in_rounds(tmp_path, "jax", [2.0, 30.0, 1.5], ["10:00", "10:05", "10:10"])
    results, html, markdown = reported(tmp_path)
    pairs = [[1280, 640], [128, 1280 / 30], [1280, 1280 / 1.5]]
    np.testing.assert_allclose(results["paired_images_per_second"], pairs)
    ratio = results["images_per_second_ratio"]["torch/jax"]
    assert ratio == pytest.approx({"median": 2, "low": 1.5, "high": 3, "num_rounds": 3})
    for text in (html, markdown):
        assert f"2 {RATIO} as JAX (95 % interval 1.50 to 3, n = 3 rounds)" in text
        assert "in turns, 3 epochs each, of" in text
        assert "One ran after the other" not in text


@pytest.mark.usefixtures("no_figures")
def test_rounds_that_took_no_time_at_all_are_no_pairs(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    in_rounds(tmp_path, "torch", [1.0, 1e-300, 1.0], ["10:00", "10:05", "10:10"])
    in_rounds(tmp_path, "jax", [2.0, 2.0, 1e-300], ["10:00", "10:05", "10:10"])
    for framework in ("torch", "jax"):  # whose own speeds no record could hold either
        path = tmp_path / framework / "timing.json"
        speed = {"median": 1.0, "low": 1.0, "high": 1.0}
        write_json(path, json.loads(path.read_text()) | {"steady_images_per_second": speed})
    results, _, _ = reported(tmp_path)
    assert results["paired_images_per_second"] == [pytest.approx([1280, 640])]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("torch_rounds", "jax_rounds", "num_pairs", "words"),
    [
        ([None] * 3, [None] * 3, 0, "One ran after the other"),
        (["10:00", "10:05", "10:10"], ["12:00", "12:05", "12:10"], 0, "One ran after the other"),
        (["10:00"], ["10:00"], 1, "They took turns for one epoch alone"),
        (["10:00", "10:05", None], [None, "10:05", "10:10"], 1, "They took turns for one epoch alone"),
    ],
    ids=["no turns", "each resumed by itself", "one epoch", "one epoch in common"],
)
def test_epochs_of_different_rounds_are_no_pairs_and_the_ratio_says_that_it_is_of_medians(
    torch_rounds: list[str | None], jax_rounds: list[str | None], num_pairs: int, words: str, tmp_path: Path
) -> None:
    write_comparison(tmp_path)
    write_certificate(tmp_path)
    in_rounds(tmp_path, "torch", [1.0] * 3, torch_rounds)
    in_rounds(tmp_path, "jax", [2.0] * 3, jax_rounds)
    results, _, markdown = reported(tmp_path)
    assert len(results["paired_images_per_second"]) == num_pairs
    assert results["images_per_second_ratio"]["torch/jax"] == {"median": 2, "low": 2, "high": 2, "num_rounds": 0}
    assert "ratio of the medians" in markdown
    assert words in markdown
    assert "A ratio to cite comes from the benchmark" in markdown
    assert "no interval" in markdown


def test_a_tolerance_that_rounding_set_does_not_pass_for_a_power_of_ten() -> None:
    assert [tolerance(value) for value in (1e-12, 1.4e-12, 2e-6)] == ["1e-12", "1.4e-12", "2e-06"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"config": CONFIG | {"seed": 5}}, "another configuration than PyTorch had (seed)"),
        ({"num_parameters": {"generator": 1, "discriminator": 1}}, "networks of another size"),
        ({"data_sha256": "0"}, "other training images"),
        ({"python": "3.12.1"}, "another Python"),
        ({"packages": {"torch": "0.1"}}, "other package versions"),
        ({"package_hashes": {"numpy": "0", "torch": "41d0"}}, "other builds of packages than PyTorch had (numpy)"),
        ({"cpu_model": "Apple M4"}, "another processor"),
        ({"cpu_flags": ["avx2"]}, "a processor with other instructions"),
        ({"source_hashes": {"torch": "0", "jax": "0"}}, "other source files"),
        ({"num_threads": 1}, "another number of threads"),
        ({"devices": {"torch": "cpu", "jax": "gpu"}}, "other devices than JAX / Flax NNX had"),
        (
            {"device_flags": {"torch": {"flush_denormal": False}, "jax": {}}},
            "other device flags than PyTorch had (flush_denormal)",
        ),
        ({"environment_variables": None}, "other environment variables than PyTorch had"),
        ({"first_steps": None}, "no first steps to know a run by"),
        ({"ladder_hash": "0"}, "another version of the ladder"),
        ({"rungs": []}, "does not cover every rung"),
    ],
)
def test_a_certificate_of_something_else_gives_no_ratio(other: dict[str, Any], reason: str, tmp_path: Path) -> None:
    write_comparison(tmp_path)
    write_certificate(tmp_path, **other)
    results, html, _ = reported(tmp_path)
    assert results["parity"]["holds"] is False
    assert reason in html
    assert RATIO not in html


@pytest.mark.usefixtures("no_figures")
def test_a_certificate_that_does_not_hold_gives_no_ratio(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    failed = {"rung": 8, "kind": "steps", "name": "step 2", "precision": "float64", "tolerance": 1e-12}
    failed |= {"measured": None, "where": "generator.layers.3.weight", "holds": False}
    write_certificate(tmp_path, holds=False, rungs=[failed])
    results, html, markdown = reported(tmp_path)
    assert results["parity"]["holds"] is False
    assert RATIO not in html
    assert "parity does not hold: rung 8 (step 2, float64), at generator.layers.3.weight" in markdown
    assert '<p class="refused">Not certified: parity does not hold' in html


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("content", ['{"holds": true}', "[1]", "{", '{"holds": true, "quick": true, "rungs": [1]}'])
def test_a_damaged_certificate_is_named(content: str, tmp_path: Path) -> None:
    write_comparison(tmp_path)
    if content.startswith('{"holds": true, "q'):
        write_certificate(tmp_path, rungs=[1])
    else:
        (tmp_path / "parity.json").write_text(content)
    with pytest.raises(UserError, match=r"parity\.json is damaged"):
        write_report(tmp_path, real_digits(64))


@pytest.mark.usefixtures("no_figures")
def test_speeds_measured_with_different_threads_give_no_ratio_and_a_notice(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    write_certificate(tmp_path)
    environment = json.loads((tmp_path / "jax/environment.json").read_text())
    write_json(tmp_path / "jax/environment.json", {**environment, "num_threads": 1})
    _, html, _ = reported(tmp_path)
    assert "not made under equal conditions; different: num_threads" in html
    assert RATIO not in html


@pytest.mark.usefixtures("no_figures")
def test_a_resumed_run_says_which_part_its_times_are_of(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    timing = json.loads((tmp_path / "jax/timing.json").read_text())
    write_json(tmp_path / "jax/timing.json", {**timing, "resumed_at_step": 1234})
    _, html, _ = reported(tmp_path)
    assert "JAX / Flax NNX was resumed at step 1,234; its times are of the part after it" in html


@pytest.mark.usefixtures("no_figures")
def test_hostile_text_in_config_and_status_is_escaped(tmp_path: Path) -> None:
    write_comparison(tmp_path, dataset=HOSTILE)
    status = {"status": "interrupted", "message": HOSTILE, "step": 7, "epoch": 1}
    write_json(tmp_path / "jax/status.json", status)
    _, html, markdown = reported(tmp_path)
    assert HOSTILE not in html + markdown
    assert html.count("<script") == 3  # the page's own: data, uPlot, its program
    assert html.count("&lt;script&gt;") >= 3  # title, banner, configuration
    assert "1|2" not in markdown


def test_a_missing_framework_is_named_and_the_other_one_reported(tmp_path: Path) -> None:
    write_run(tmp_path / "torch", "torch")
    (tmp_path / "jax").mkdir()
    status = {"status": "failed", "message": "the loss turned NaN", "step": 1234, "epoch": 2}
    write_json(tmp_path / "jax/status.json", status)
    results, html, markdown = reported(tmp_path)
    assert results["frameworks"]["jax"] is None
    assert results["frameworks"]["torch"]["quality"]
    for text in (html, markdown):
        assert "JAX / Flax NNX failed at step 1,234 in epoch 2: the loss turned NaN" in text
        assert "JAX / Flax NNX is missing" in text
    assert "loss_difference.svg" not in {path.name for path in (tmp_path / "figures").iterdir()}


def test_a_run_that_stopped_before_its_first_step_is_reported(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    for name in ("losses.csv", "epochs.csv", "timing.json", "progress.npz", "metrics.json"):
        (tmp_path / "jax" / name).unlink()
    write_json(tmp_path / "jax/status.json", {"status": "running", "message": "", "step": 0, "epoch": 0})
    results, html, _ = reported(tmp_path)
    assert results["frameworks"]["jax"]["steady_images_per_second"] is None
    assert "JAX / Flax NNX ended without a word at step 0" in html
    assert "The samples of JAX / Flax NNX were not scored" in html


def test_equal_runs_are_reported_as_never_parting(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    shutil.copy(tmp_path / "torch/losses.csv", tmp_path / "jax/losses.csv")
    results, html, _ = reported(tmp_path)
    assert results["loss_agreement"]["generator_loss"]["first_step_above_1_percent"] is None
    assert "at none of the 120 steps" in html


def test_losses_that_turn_nan_still_give_valid_json(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    path = tmp_path / "jax/losses.csv"
    *lines, last = path.read_text().splitlines()
    path.write_text("\n".join([*lines, re.sub(r"(,[^,]+){4}$", ",nan,nan,nan,nan", last)]) + "\n")
    results, _, _ = reported(tmp_path)
    assert results["frameworks"]["jax"]["last_epoch_means"]["generator_loss"] is None


def test_the_step_at_which_the_runs_part_is_the_first_above_one_percent() -> None:
    torch_loss = np.ones(200)
    jax_loss = torch_loss + np.where(np.arange(1, 201) >= 137, 0.02, 1e-6)
    losses = ({"discriminator_loss": loss, "generator_loss": torch_loss} for loss in (torch_loss, jax_loss))
    agreement = loss_agreement(*losses)
    assert agreement["discriminator_loss"]["first_step_above_1_percent"] == 137
    assert agreement["discriminator_loss"]["first_step"] == pytest.approx(1e-6, rel=1e-5)
    assert agreement["discriminator_loss"]["largest_of_first_10_steps"] == pytest.approx(1e-6, rel=1e-5)
    assert agreement["discriminator_loss"]["at_step"]["100"] == pytest.approx(1e-6, rel=1e-5)
    assert agreement["generator_loss"]["first_step_above_1_percent"] is None


def test_relative_difference_is_symmetric_and_covers_the_steps_both_have() -> None:
    first, second = np.array([1.0, 0.0, -2.0]), np.array([2.0, 0.0, 2.0, 5.0])
    np.testing.assert_array_equal(relative_difference(first, second), [0.5, 0.0, 2.0])
    np.testing.assert_array_equal(relative_difference(second, first), [0.5, 0.0, 2.0])


def test_a_nan_counts_as_parting() -> None:
    assert first_step_above(np.array([0.0, np.nan]), 0.01) == 2


@pytest.mark.parametrize("shape", [(6, 4, 4), (6, 4, 4, 3)], ids=["gray", "rgb"])
def test_tiles_stand_row_by_row(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    picture = tile(images, num_columns=3)
    assert picture.shape[:2] == (2 * 4 + 2, 3 * 4 + 2 * 2)
    np.testing.assert_array_equal(picture[6:10, 12:16], images[5])


def test_numbers_have_three_digits_and_durations_fitting_units() -> None:
    assert [number(value) for value in (27.523, 0.69, 1776.4, 0, 8.1e-8, None)] == [
        "27.5",
        "0.690",
        "1,776",
        "0",
        "8.1e-8",
        "-",
    ]
    assert [difference(value) for value in (6.85e-4, 0.315, 0.0)] == ["6.8e-4", "0.315", "0"]
    assert [duration(value) for value in (0.0421, 36.51, 338.4, 119.96)] == [
        "42.1 ms",
        "36.5 s",
        "5 min 38 s",
        "120 s",
    ]


@pytest.mark.usefixtures("no_figures")
def test_the_terminal_summary_shows_both_speeds_and_what_is_missing(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    (tmp_path / "jax/metrics.json").unlink()
    comparison = write_report(tmp_path, real_digits(64))
    console = Console(width=100, file=io.StringIO())
    print_summary(comparison, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for framework in comparison.results["frameworks"].values():
        assert number(framework["steady_images_per_second"]["median"]) in text
    assert NO_RATIO in text
    assert "The samples of JAX / Flax NNX were not scored" in text
