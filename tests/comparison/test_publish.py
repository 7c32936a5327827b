"""The README's table is the published run's, and only a finished comparison is published."""

import json
import shutil
from pathlib import Path

import pytest

from common.errors import UserError
from comparison.publish.default_run import publish, read_results, with_results
from comparison.report.write import write_report
from tests.synthetic_runs import real_digits, write_comparison

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "results" / "default"
README = "# title\n<!-- results: made by hand -->\nold\n<!-- end of results -->\nthe rest\n"


def test_the_readme_shows_the_numbers_of_the_published_run():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_results(readme, read_results(PUBLISHED)) == readme


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
    speed = json.loads((docs / "comparison.json").read_text())["frameworks"]["torch"]["steady_images_per_second"]
    assert f"{speed['median']:,.0f} (" in text


def test_an_unfinished_comparison_is_not_published(tmp_path):
    folder = write_comparison(tmp_path / "run")
    shutil.rmtree(folder / "jax")
    with pytest.raises(UserError, match="holds no report"):
        publish(folder, tmp_path / "docs", tmp_path / "README.md")
    write_report(folder, real_digits(64))
    with pytest.raises(UserError, match="is not finished"):
        publish(folder, tmp_path / "docs", tmp_path / "README.md")
    assert not (tmp_path / "docs").exists()
