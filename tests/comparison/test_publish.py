"""Every table in README and docs is of recorded results, and only a finished comparison is published."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.records.folder import read_json
from comparison.publish import clean_climbs, parity, systems
from comparison.publish.default_run import publish, read_results, results_block
from comparison.publish.page import part, run_publisher, with_part
from comparison.report.bench_figures import FIGURES
from comparison.report.bench_words import definitions, page
from comparison.report.write import write_report
from tests.synthetic_runs import real_digits, write_comparison

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "results" / "default"
README = "# title\n<!-- results: made by hand -->\nold\n<!-- end of results -->\nthe rest\n"


def test_the_readme_shows_the_numbers_of_the_published_run():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_part(readme, "results", results_block(read_results(PUBLISHED))) == readme


def test_the_published_run_is_the_default_preset_for_ten_epochs():
    config = read_results(PUBLISHED)["config"]
    assert (config["preset"], config["epochs"], config["dataset"], config["train_size"]) == ("dcgan32", 10, "mnist", 0)


def test_publishing_replaces_the_old_report_and_the_readmes_table_alone(tmp_path):
    folder = write_comparison(tmp_path / "run")
    write_report(folder, real_digits(64))
    readme, docs = tmp_path / "README.md", tmp_path / "docs" / "default"
    readme.write_text(README, encoding="utf-8")
    docs.mkdir(parents=True)
    (docs / "stale.txt").write_text("old")
    publish(folder, docs, readme)
    written = {"report.md", "report.html", "comparison.json", "figures", "progress.gif"}
    assert {path.name for path in docs.iterdir()} == written
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# title\n<!-- results: made by hand -->\n|")
    assert text.endswith("<!-- end of results -->\nthe rest\n")
    assert "old" not in text
    assert "AMD EPYC" in text  # a ratio is of a CPU
    speed = json.loads((docs / "comparison.json").read_text())["frameworks"]["torch"]["steady_images_per_second"]
    assert f"{speed['median']:,.0f} (" in text


def test_an_unfinished_comparison_is_not_published(tmp_path):
    folder = write_comparison(tmp_path / "run")
    shutil.rmtree(folder / "jax")
    with pytest.raises(UserError, match=r"comparison\.json is missing: run `.*-m compare report"):
        publish(folder, tmp_path / "docs", tmp_path / "README.md")
    write_report(folder, real_digits(64))
    with pytest.raises(UserError, match="is not finished"):
        publish(folder, tmp_path / "docs", tmp_path / "README.md")
    assert not (tmp_path / "docs").exists()


def test_a_part_of_a_page_is_replaced_and_the_words_around_it_stay():
    page = "<!-- a: x -->\nold\n\n<!-- end of a -->\nbetween\n<!-- b: y -->\nkept\n<!-- end of b -->\n"
    assert with_part(page, "a", "\nnew `\\1`\n") == page.replace("old\n", "new `\\1`")
    with pytest.raises(AssertionError, match="lost its markers of c"):
        with_part(page, "c", "")


def test_the_parity_page_keeps_every_climb_and_bug_that_no_new_file_replaces(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "PAGE", tmp_path / "parity.md")
    recorded = (ROOT / "docs" / "results" / "parity.md").read_text(encoding="utf-8")
    parity.PAGE.write_text(recorded, encoding="utf-8")
    parity.publish([])
    assert parity.PAGE.read_text(encoding="utf-8") == recorded


def test_the_parity_page_has_the_table_of_the_kept_clean_climbs():
    page = clean_climbs.PAGE.read_text(encoding="utf-8")
    climbs = read_json(clean_climbs.RECORD)["climbs"]
    assert part(page, "clean climbs")[2] == clean_climbs.table(climbs)
    alarmed = [{**climbs[0], "false_alarms": ["rung 8, float32, step 2"]}, *climbs[1:]]
    assert clean_climbs.table(alarmed).startswith(f"False alarms came up in 1 of {len(climbs)} climbs.")
    assert "seed 0, --threads 1: rung 8, float32, step 2" in clean_climbs.table(alarmed)


def test_only_what_the_file_lacks_is_climbed(tmp_path, monkeypatch):
    climbed = []

    def climb(preset: str, seed: int, num_threads: int, children: object) -> dict[str, Any]:
        climbed.append((preset, seed, num_threads))
        if len(climbed) == 4:
            raise KeyboardInterrupt
        numbers = {"width": 8, "batch_size": 16, "num_measurements": 171, "false_alarms": []}
        return {"preset": preset, "seed": seed, "num_threads": num_threads, **numbers}

    monkeypatch.setattr(clean_climbs, "climb", climb)
    monkeypatch.setattr(clean_climbs, "PAGE", tmp_path / "page.md")
    clean_climbs.PAGE.write_text("<!-- clean climbs: x -->\n\n<!-- end of clean climbs -->")
    with pytest.raises(KeyboardInterrupt):
        clean_climbs.publish([tmp_path / "climbs.json"])
    clean_climbs.publish([tmp_path / "climbs.json"])
    assert len(climbed) == 1 + len({*climbed}) >= 21
    assert "False alarms came up in 0 of" in clean_climbs.PAGE.read_text()


def test_the_systems_page_has_the_tables_of_the_kept_records():
    page = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    for name, table in systems.tables(read_json(systems.RECORDS)).items():
        assert part(page, name)[2] == table


def test_the_speed_page_has_the_words_and_tables_of_the_kept_benchmarks():
    measured = part((ROOT / "docs" / "results" / "speed.md").read_text(encoding="utf-8"), "measured")[2]
    assert measured.startswith(definitions())
    for path in (ROOT / "docs" / "results" / "speed").glob("*.json"):
        if "arms" in (result := read_json(path)):
            figures = [f"speed/{path.stem}_{name}" for name in FIGURES if f"{path.stem}_{name}" in measured]
            assert page(result, figures).strip() in measured


@pytest.mark.parametrize("module", ["clean_climbs", "default_run", "parity", "peers", "seeds", "speed", "systems"])
def test_a_publisher_called_without_what_it_needs_says_how_to_call_it(module, monkeypatch, capsys):
    publisher = importlib.import_module(f"comparison.publish.{module}")
    monkeypatch.setattr("sys.argv", [module, *map(str, range(100))])
    assert run_publisher(publisher.__doc__, lambda paths: None, num_paths=range(2)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"python -m comparison.publish.{module}: wrong number of paths: python -m")
    assert error.count("\n") == 1
