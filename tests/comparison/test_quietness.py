"""The speeds of a comparison are marked by how quiet the machine was, and disturbed ones get a reason, not a ratio."""

import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from comparison.report.figures import Drawn
from comparison.report.quietness import DISTURBED_FROM, VERIFIED_BELOW, _spans
from comparison.report.write import print_summary, write_report
from tests.certificates import write_certificate
from tests.comparison.test_report import NO_RATIO, RATIO
from tests.synthetic_runs import real_digits, write_comparison, write_json

GLOSSARY = Path(__file__).parents[2] / "docs" / "reference" / "glossary.md"
EPOCHS, STEPS_PER_EPOCH, NUM_CORES = 5, 80, 2


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())


def record_others(run: Path, others: float | dict[int, float], *, stolen: float = 0.0, **conditions: Any) -> None:
    """As if others had used so many cores while this run trained, beside the one it used itself."""
    timing = json.loads((run / "timing.json").read_text())
    for chunk in timing["chunks"]:
        epoch = (chunk["step"] - 1) // STEPS_PER_EPOCH + 1
        used = others.get(epoch, 0.0) if isinstance(others, dict) else others
        chunk["cpu_seconds"], chunk["busy_seconds"] = chunk["seconds"], (1 + used) * chunk["seconds"]
        chunk["stolen_seconds"] = stolen * chunk["seconds"]
    timing["conditions"] = conditions
    write_json(run / "timing.json", timing)


def reported(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """comparison.json, and what stands in each place that a person reads."""
    comparison = write_report(folder, real_digits(64))
    console = Console(file=io.StringIO(), width=1000)
    print_summary(comparison, console)
    assert isinstance(console.file, io.StringIO)
    texts = {name: html.unescape((folder / name).read_text()) for name in ("report.html", "report.md")}
    texts["report.html"] = texts["report.html"].replace("<code>", "`").replace("</code>", "`")
    results = json.loads((folder / "comparison.json").read_text())
    return results, {**texts, "terminal": console.file.getvalue()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A certified comparison beside which others used 0.02 of 2 cores."""
    folder = write_comparison(tmp_path / "runs", epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH)
    write_certificate(folder)
    for framework in ("torch", "jax"):
        record_others(folder / framework, 0.02)
    return folder


def check(texts: Mapping[str, str], sentence: str, *, has_ratio: bool) -> None:
    for place, text in texts.items():
        assert sentence in text, place
        assert (RATIO in text) == has_ratio, place
        assert (NO_RATIO in text) != has_ratio, place


def test_a_certified_comparison_on_a_quiet_machine_is_verified(folder: Path) -> None:
    results, texts = reported(folder)
    check(
        texts,
        "These speeds are verified: other programs used 0.02 of 2 cores while PyTorch trained and 0.02 of 2 cores "
        "while JAX trained.",
        has_ratio=True,
    )
    quiet = results["quietness"]
    assert quiet["mark"] == "verified"
    assert (quiet["thresholds"]["verified_below"], quiet["thresholds"]["disturbed_from"]) == (0.05, 0.15)
    jax = quiet["runs"]["jax"]
    assert (jax["num_cores"], jax["own_cores"], jax["stolen_cores"]) == (2, pytest.approx(1), 0)
    assert [jax["others_cores"], *jax["others_cores_by_epoch"].values()] == [pytest.approx(0.02)] * 6


def test_a_disturbed_comparison_prints_no_ratio_but_which_epochs_and_what_to_do(folder: Path) -> None:
    record_others(folder / "jax", {3: 0.9, 4: 0.9, 5: 0.9})
    results, texts = reported(folder)
    check(
        texts,
        "These speeds are disturbed: other programs used 0.90 of 2 cores during JAX's epochs 3 to 5. Close them, then "
        "train again, or time a step with `python compare.py bench --preset dcgan32`.",
        has_ratio=False,
    )
    assert "because the speeds are disturbed." in texts["terminal"]
    assert results["quietness"]["mark"] == "disturbed"
    assert results["images_per_second_ratio"] is None
    assert results["why_no_ratio"] == "the speeds are disturbed"


def test_a_machine_that_was_busy_throughout_is_said_to_have_been(folder: Path) -> None:
    record_others(folder / "torch", 1.0, stolen=0.6)
    _, texts = reported(folder)
    sentence = "used 1.00 of 2 cores while PyTorch trained (0.60 of them were taken by a hypervisor)."
    check(texts, sentence, has_ratio=False)


@pytest.mark.parametrize(
    ("share", "mark"),
    [
        (0.0, "verified"),
        (VERIFIED_BELOW - 0.001, "verified"),
        (VERIFIED_BELOW + 0.001, "indicative"),
        (DISTURBED_FROM - 0.001, "indicative"),
        (DISTURBED_FROM + 0.001, "disturbed"),
    ],
)
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_mark_is_that_of_the_half_that_was_disturbed_more(
    framework: str, share: float, mark: str, folder: Path
) -> None:
    record_others(folder / framework, share * NUM_CORES)
    results, texts = reported(folder)
    assert results["quietness"]["mark"] == mark
    check(texts, f"These speeds are {mark}:", has_ratio=mark != "disturbed")


def test_a_comparison_from_before_this_was_recorded_is_indicative_and_keeps_its_ratio(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "runs")
    write_certificate(folder)
    results, texts = reported(folder)
    sentence = (
        "indicative: PyTorch's run is too short, or its record too old, to show how busy the machine was; JAX's run"
    )
    check(texts, sentence, has_ratio=True)
    assert results["quietness"]["runs"]["jax"]["others_cores"] is None


def test_without_a_certificate_speeds_are_indicative_however_quiet_it_was(folder: Path) -> None:
    (folder / "parity.json").unlink()
    _, texts = reported(folder)
    check(texts, "indicative: parity is not certified; other programs used 0.02 of 2 cores while", has_ratio=False)


@pytest.mark.parametrize(
    ("conditions", "doubt"),
    [
        ({"on_battery": True}, "JAX trained on battery"),
        ({"lowest_clock": 0.38}, "the clock fell to 0.38 of its highest while JAX trained"),
        ({"swapped_bytes": 10**9}, "memory was swapped while JAX trained"),
        ({"swapped_bytes": 4096, "on_battery": False, "lowest_clock": 0.7, "involuntary_switches": 10**6}, ""),
    ],
)
def test_a_battery_a_slow_clock_and_swapping_leave_speeds_indicative(
    conditions: dict[str, Any], doubt: str, folder: Path
) -> None:
    record_others(folder / "jax", 0.02, **conditions)
    results, texts = reported(folder)
    check(texts, f"These speeds are {'indicative: ' + doubt if doubt else 'verified: other'}", has_ratio=True)
    assert conditions.items() <= results["quietness"]["runs"]["jax"].items()


def test_epochs_that_follow_each_other_are_named_as_a_span() -> None:
    assert [_spans(epochs) for epochs in ([3], [3, 4], [1, 3, 4, 5, 8])] == ["3", "3 to 4", "1, 3 to 5, 8"]


def test_the_glossary_explains_each_mark_with_the_thresholds_that_decide() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    low, high = (round(100 * share) for share in (VERIFIED_BELOW, DISTURBED_FROM))
    for mark, threshold in (("verified", f"less than {low} %"), ("indicative", f"{low} to {high} %")):
        assert f"**{mark}**" in text
        assert threshold in text
    assert "**disturbed**" in text
    assert f"{high} % or more" in text
