"""Every table in README and docs is of recorded results, and only a finished comparison is published."""

import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from common.records.folder import read_json
from comparison.publish import (
    bug_map,
    clean_climbs,
    neighbours,
    parity,
    parting,
    port,
    readme,
    reference,
    systems,
    verdict,
)
from comparison.publish.default_run import publish, read_results
from comparison.publish.page import part, run_publisher, with_part
from comparison.report.bench_figures import FIGURES
from comparison.report.bench_words import definitions, page
from comparison.report.citation import bench_citation
from comparison.report.write import write_report
from comparison.text import markdown
from tests.synthetic_runs import real_digits, write_comparison

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "results" / "default"


def test_the_readme_shows_what_the_records_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, content in readme.parts().items():
        assert part(text, name)[2] == content.strip(), f"{name} is stale: python -m comparison.publish.readme"


def test_the_reference_shows_what_the_code_says():
    for name, content in reference.pages().items():
        written = (reference.DOCS / name).read_text(encoding="utf-8")
        assert written == content, f"{name} is stale: python -m comparison.publish.reference"


def test_a_verdict_is_marked_by_what_its_numbers_rest_on():
    records = readme.read_records()
    assert verdict.tuned_sentence(records.tuned).count("*Verified*") == 1
    refuted = {"holds": False, "kind": "envelope"}
    for change in ({"control": refuted}, {"parity": refuted}, {"certificates": {"jax": refuted}}):
        assert "*Indicative*" in verdict.tuned_sentence({**records.tuned, **change})
    assert verdict.tuned_sentence({**records.tuned, "ratios": {}}).startswith("*Not measured*")
    level = {**records.tuned, "ratios": {"jax/torch": {"median": 1.01, "low": 0.98, "high": 1.03}}}
    assert "neither is shown to be faster" in verdict.tuned_sentence(level)
    assert "any GPU or TPU" in verdict.verdict(records)
    on_gpu = {**records.tuned, "machine": {**records.tuned["machine"], "devices": {"torch": "H100", "jax": "H100"}}}
    assert "any GPU or TPU" not in verdict.verdict(records._replace(others=[on_gpu]))


def test_a_citation_names_preset_device_versions_sources_interval_and_n():
    tuned = readme.read_records().tuned
    cited = bench_citation(tuned)
    for words in ("dcgan32", "float32", "torch 2.", "jax 0.", "95 % interval", "n = 5", "device cpu", "sources "):
        assert words in cited
    assert "commit 0123456789ab." in bench_citation(
        {**tuned, "machine": {**tuned["machine"], "commit": "0123456789abcdef"}}
    )


def test_the_published_run_is_the_default_preset_for_ten_epochs():
    config = read_results(PUBLISHED)["config"]
    assert (config["preset"], config["epochs"], config["dataset"], config["train_size"]) == ("dcgan32", 10, "mnist", 0)


def test_publishing_replaces_the_old_report(tmp_path):
    folder = write_comparison(tmp_path / "run")
    write_report(folder, real_digits(64))
    docs = tmp_path / "docs" / "default"
    docs.mkdir(parents=True)
    (docs / "stale.txt").write_text("old")
    publish(folder, docs)
    written = {"report.md", "report.html", "comparison.json", "figures", "progress.gif"}
    assert {path.name for path in docs.iterdir()} == written


def test_an_unfinished_comparison_is_not_published(tmp_path):
    folder = write_comparison(tmp_path / "run")
    shutil.rmtree(folder / "jax")
    with pytest.raises(UserError, match=r"comparison\.json is missing: run `.*-m compare report"):
        publish(folder, tmp_path / "docs")
    write_report(folder, real_digits(64))
    with pytest.raises(UserError, match="is not finished"):
        publish(folder, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_a_part_of_a_page_is_replaced_and_the_words_around_it_stay():
    page = "<!-- a: x -->\nold\n\n<!-- end of a -->\nbetween\n<!-- b: y -->\nkept\n<!-- end of b -->\n"
    assert with_part(page, "a", "\nnew `\\1`\n") == page.replace("old\n", "new `\\1`")
    with pytest.raises(AssertionError, match="lost its markers of c"):
        with_part(page, "c", "")


def test_the_parity_page_keeps_every_climb_and_bug_that_no_new_file_replaces(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "PAGE", tmp_path / "parity.md")
    monkeypatch.setattr(parity, "BUG_MAP", tmp_path / "planted_bugs.svg")
    recorded = (ROOT / "docs" / "results" / "parity.md").read_text(encoding="utf-8")
    parity.PAGE.write_text(recorded, encoding="utf-8")
    parity.publish([])
    assert parity.PAGE.read_text(encoding="utf-8") == recorded
    (told,) = re.findall(r"(\d+ of \d+) are caught", recorded)
    assert f"{told} planted bugs are caught" in (tmp_path / "planted_bugs.svg").read_text()


def test_the_page_of_ports_has_the_matrix_of_the_kept_record():
    assert part(port.PAGE.read_text(encoding="utf-8"), "detection")[2] == port.matrix(read_json(port.RECORD))


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


@pytest.mark.parametrize("page", systems.pages({}))
def test_the_pages_of_systems_have_the_tables_of_the_kept_records(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, content in systems.pages(read_json(systems.RECORDS))[page].items():
        assert part(text, name)[2] == content


def test_the_speed_page_has_the_words_and_tables_of_the_kept_benchmarks():
    measured = part((ROOT / "docs" / "results" / "speed.md").read_text(encoding="utf-8"), "measured")[2]
    assert measured.endswith(definitions())
    for path in (ROOT / "docs" / "results" / "speed").glob("*.json"):
        if "arms" in (result := read_json(path)):
            figures = [f"speed/{path.stem}_{name}" for name in FIGURES if f"{path.stem}_{name}" in measured]
            assert page(result, figures).strip() in measured


def test_the_speed_page_says_what_the_kept_records_say_of_busy_programs():
    found = part((ROOT / "docs" / "results" / "speed.md").read_text(encoding="utf-8"), "neighbours")[2]
    for path in neighbours.RECORDS.glob("*.json"):
        assert neighbours.section(read_json(path)) in found


def test_a_benchmark_without_busy_programs_is_refused_before_the_page_is_touched():
    with pytest.raises(UserError, match="make it with --neighbours 2"):
        neighbours.publish([ROOT / "docs" / "results" / "speed" / "default.json"])


@pytest.mark.parametrize(
    "module",
    [
        "clean_climbs",
        "default_run",
        "neighbours",
        "parity",
        "peers",
        "port",
        "readme",
        "reference",
        "seeds",
        "speed",
        "systems",
    ],
)
def test_a_publisher_called_without_what_it_needs_says_how_to_call_it(module, monkeypatch, capsys):
    publisher = importlib.import_module(f"comparison.publish.{module}")
    monkeypatch.setattr("sys.argv", [module, *map(str, range(100))])
    assert run_publisher(publisher.__doc__, lambda paths: None, num_paths=range(2)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"python -m comparison.publish.{module}: wrong number of paths: python -m")
    assert error.count("\n") == 1


def test_the_twins_part_at_the_first_step_with_a_visible_difference():
    alike = np.full((len(parting.STEPS), 64, 4, 4), 100, np.uint8)
    other = alike.copy()
    other[2] += 1
    other[3:, 7, 0, 0] = 160
    apart = parting.differences({"torch": alike, "jax": other})
    assert parting.conclusion(apart) == "The twins draw the same until step 22, and differ at step 100"
    assert "1 at step 22, 60 at step 100, 60 at step 1,000" in parting.page_part(apart)
    assert parting.conclusion(0 * apart) == "The twins draw the same until step 1,000"
    figure = parting.draw({"torch": alike, "jax": other}, "dcgan32")
    assert figure.get_suptitle() == parting.conclusion(apart)
    assert [axes.get_xlabel() for axes in figure.axes[-5:]] == [f"at most {levels}" for levels in (0, 0, 1, 0, 0)]


def test_the_map_of_bugs_reads_the_page_s_table():
    caught, hidden = bug_map.read_table(
        markdown(
            [
                bug_map.TABLE_HEAD,
                ("late bug", "jax_impl/a.py", bug_map.RUNG_NAMES[3], "2.0e-10 of 1e-12"),
                ("hidden", "torch_impl/a.py", "", "missed"),
            ]
        )
    )
    assert (caught.bug, caught.rung, hidden.bug, hidden.rung) == ("late bug", 3, "hidden", None)
    assert caught.factor == pytest.approx(200)
    assert b"1 of 2 planted bugs are caught" in bug_map.draw([caught, hidden])
