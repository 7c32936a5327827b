"""A study keeps to the plan that it wrote first, trains what is not finished, and says what its pairs show."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import comparison.study.engine
from common.errors import UserError, report_errors
from common.records.folder import read_json
from comparison.commands.dispatch import run_command
from comparison.publish.study import publish
from comparison.study.engine import locked
from comparison.study.page import write_pages
from comparison.study.plan import Plan, keep_plan, make_plan, parse_seeds, read_plan
from comparison.study.results import needs_reserve, read_values, summarise
from tests.test_docs import ROOT

MEANS = {"coverage": 0.66, "frechet_distance": 0.68, "mnist_score": 7.85, "class_kl": 0.014}


def plan_of(presets: str = "dcgan32", seeds: str = "10-29", reserve: str = "", flags: str = "") -> Plan:
    return make_plan(presets, seeds, reserve, flags)[0]


def add_runs(
    folder: Path, plan: Plan, *, seeds: list[int] | None = None, sd: float = 0.005, apart: float = 0.0
) -> None:
    """Finished runs of these seeds; the scores of PyTorch lie `apart` higher, relatively."""
    draw = np.random.default_rng(0)
    for run in plan.runs(plan.seeds):
        place = folder / run.folder
        place.mkdir(parents=True)
        shift = 1 + sd * draw.standard_normal() + (apart if run.framework == "torch" else 0)
        scores = {name: {"value": mean * shift} for name, mean in MEANS.items()}
        (place / "metrics.json").write_text(json.dumps({"metrics": scores, "protocol": PROTOCOL}))
        (place / "status.json").write_text(json.dumps(FINISHED))


PROTOCOL = {"num_generated": 10_000, "num_real": 10_000, "network_sha256": "0"}
FINISHED = {"status": "finished", "message": "", "step": 9370, "epoch": 10}


def verdict_of(report: dict[str, Any], metric: str = "coverage", preset: str = "dcgan32") -> str:
    return report["presets"][preset]["metrics"][metric]["verdict"]


# The plan


def test_seeds_are_named_by_ranges_and_one_by_one():
    assert parse_seeds("--seeds", "10-12,20") == [10, 11, 12, 20]
    assert parse_seeds("--seeds", "") == []


@pytest.mark.parametrize("words", ["a", "3-1x", "1,1", "1-3,2", "0-99999", "-3"])
def test_seeds_that_are_none_are_refused(words):
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds("--seeds", words)


@pytest.mark.parametrize(
    ("presets", "seeds", "reserve", "flags", "said"),
    [
        ("dcgan33", "1-3", "", "", "dcgan33 is unknown"),
        ("smoke,smoke", "1-3", "", "", "or one twice"),
        ("", "1-3", "", "", "names none"),
        ("smoke", "1", "", "", "two seeds at least"),
        ("smoke", "1-3", "3-5", "", "none of them in --reserve-seeds"),
        ("smoke", "1-3", "", "--seed=4", "--seed=4 is for the study to say"),
        ("smoke", "1-3", "", "--epoch 3", "--epoch is unknown"),
        ("smoke", "1-3", "", "--dataset npz", "leave out --dataset"),
    ],
)
def test_what_is_no_study_is_refused_before_anything_is_written(presets, seeds, reserve, flags, said):
    with pytest.raises(UserError, match=said):
        make_plan(presets, seeds, reserve, flags)


def test_the_plan_is_written_with_all_that_decides_the_verdict_and_its_hash(tmp_path):
    plan = keep_plan(plan_of("dcgan32,smoke", reserve="30-39", flags="--epochs 3"), tmp_path / "study")
    kept = read_json(tmp_path / "study" / "plan.json")
    assert kept["sha256"] == plan.sha256
    assert kept["plan"]["seeds"] == list(range(10, 30))
    assert kept["plan"]["presets"]["smoke"]["epochs"] == 3
    assert kept["plan"]["margins"] == {
        "coverage": 0.01, "frechet_distance": None, "mnist_score": None, "class_kl": None
    }  # fmt: skip
    assert all(kept["plan"][name] for name in ("test", "multiplicity", "stopping_rule", "exclusions"))


def test_the_same_plan_is_found_again_also_at_a_later_commit(tmp_path):
    first = keep_plan(plan_of(), tmp_path)
    later = plan_of()
    later.content["commit"] = "another"
    assert keep_plan(later, tmp_path) == first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": "10-30"}, "seeds"),
        ({"reserve": "30-39"}, "reserve_seeds"),
        ({"presets": "smoke"}, r"presets \(dcgan32 / smoke\)"),
        ({"flags": "--epochs 3"}, "presets"),
        ({"flags": "--draws 1"}, "draws"),
    ],
)
def test_another_plan_in_the_same_folder_is_refused(changes, said, tmp_path):
    keep_plan(plan_of(), tmp_path)
    with pytest.raises(UserError, match=f"another plan: {said}"):
        keep_plan(plan_of(**changes), tmp_path)


def test_an_edited_plan_is_refused(tmp_path):
    keep_plan(plan_of(), tmp_path)
    path = tmp_path / "plan.json"
    path.write_text(path.read_text().replace("0.01", "0.02"))
    with pytest.raises(UserError, match="edited after it was written"):
        read_plan(tmp_path)


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "note.txt").touch()
    with pytest.raises(UserError, match="something else than a study"):
        keep_plan(plan_of(), tmp_path)


# What the pairs show


def test_equal_frameworks_are_equivalent_and_every_number_is_on_record(tmp_path):
    plan = plan_of()
    add_runs(tmp_path, plan)
    report = summarise(tmp_path, plan, plan.seeds)
    found = report["presets"]["dcgan32"]["metrics"]
    assert {name: result["verdict"] for name, result in found.items()} == dict.fromkeys(MEANS, "equivalent")
    coverage = found["coverage"]
    assert coverage["num_pairs"] == 20
    assert coverage["margin"] == 0.01
    assert -0.01 < coverage["low95"] < coverage["low90"] < coverage["high90"] < coverage["high95"] < 0.01
    assert 0.9 < coverage["power"] <= 1
    assert 0 < found["mnist_score"]["margin"] < 7.85 * 0.0075, "one seed-sd, less its own uncertainty"


def test_frameworks_far_apart_are_different_and_few_seeds_leave_it_undecided(tmp_path):
    plan = plan_of()
    add_runs(tmp_path / "apart", plan, apart=0.03)
    assert verdict_of(summarise(tmp_path / "apart", plan, plan.seeds)) == "different"
    few = plan_of(seeds="10-12")
    add_runs(tmp_path / "few", few, sd=0.02)
    assert verdict_of(summarise(tmp_path / "few", few, few.seeds)) == "undecided"


def test_nothing_is_compared_before_the_last_run_is_finished(tmp_path):
    plan = plan_of()
    add_runs(tmp_path, plan)
    status = tmp_path / "dcgan32" / "seed20" / "jax" / "status.json"
    status.write_text(json.dumps(FINISHED | {"status": "failed", "message": "no memory"}))
    report = summarise(tmp_path, plan, plan.seeds)
    assert report["presets"] == {}
    assert report["unfinished"] == {"dcgan32, seed 20, jax": "failed at step 9370: no memory"}
    write_pages(tmp_path, report)
    assert "39 of 40 runs are finished: nothing is compared before all are" in (tmp_path / "study.md").read_text()


def test_a_collapsed_run_counts_with_a_coverage_of_0_and_what_it_has_no_score_in_is_undecided(tmp_path):
    plan = plan_of()
    add_runs(tmp_path, plan)
    (tmp_path / "dcgan32" / "seed10" / "torch" / "metrics.json").unlink()
    report = summarise(tmp_path, plan, plan.seeds)
    assert report["presets"]["dcgan32"]["metrics"]["coverage"]["values"]["torch"][0] == 0.0
    assert verdict_of(report) == verdict_of(report, "mnist_score") == "undecided"
    write_pages(tmp_path, report)
    assert "MNIST score: undecided, since a run has no score" in (tmp_path / "study.md").read_text()


def test_p_values_are_corrected_for_the_number_of_presets(tmp_path):
    alone, both = plan_of(), plan_of("dcgan32,smoke")
    add_runs(tmp_path, both, apart=0.006)
    one, two = (
        summarise(tmp_path, plan, plan.seeds)["presets"]["dcgan32"]["metrics"]["coverage"] for plan in (alone, both)
    )
    assert one["p_equivalent"] < two["p_equivalent"] <= 2 * one["p_equivalent"]


@pytest.mark.parametrize(("sd", "expected"), [(0.005, False), (0.03, True)])
def test_reserve_seeds_are_run_for_the_spread_alone(sd, expected, tmp_path):
    plan = plan_of(reserve="30-39")
    add_runs(tmp_path / "near", plan, sd=sd)
    add_runs(tmp_path / "far", plan, sd=sd, apart=0.5)
    for name in ("near", "far"):
        assert needs_reserve(read_values(tmp_path / name, plan, plan.seeds), plan) is expected


def test_the_page_shows_plan_margin_and_every_score_and_its_figure(tmp_path):
    plan = keep_plan(plan_of(), tmp_path)
    add_runs(tmp_path, plan)
    write_pages(tmp_path, summarise(tmp_path, plan, plan.seeds))
    markdown, html = ((tmp_path / name).read_text() for name in ("study.md", "study.html"))
    for page in (markdown, html):
        assert "dcgan32, Coverage: equivalent. PyTorch" in page
        assert plan.sha256 in page
        assert "10 to 29" in page
    assert "| 29 | 0." in markdown
    assert "![" in markdown
    assert "(study_dcgan32.png)" in markdown
    assert "data:image/png" in html
    with Image.open(tmp_path / "study_dcgan32.png") as figure:
        assert figure.width > 1000


def test_a_finished_study_is_published_and_an_unfinished_one_is_not(tmp_path):
    folder, docs = tmp_path / "study", tmp_path / "docs"
    plan = keep_plan(plan_of(), folder)
    add_runs(folder, plan)
    report = summarise(folder, plan, plan.seeds)
    write_pages(folder, report)
    (folder / "report.json").write_text(json.dumps(report | {"unfinished": {"one": "failed"}}))
    with pytest.raises(UserError, match="not finished"):
        publish(folder, docs)
    (folder / "report.json").write_text(json.dumps(report))
    publish(folder, docs)
    assert {path.name for path in docs.iterdir()} == {"study.md", "study_dcgan32.png", "report.json", "plan.json"}


# The engine, with a stand-in for what it trains


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules torch_impl and jax_impl that leave a finished run's records, and note each start in `starts.txt`."""
    sources = tmp_path / "sources"
    for framework in ("torch", "jax"):
        package = sources / f"{framework}_impl"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setattr(comparison.study.engine, "child_environment", lambda threads: environment(sources))
    return sources


def environment(sources: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{sources}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


# The first start of seed 11 fails after a checkpoint, which the second one must find. A run waits while `hold` exists.
STAND_IN = f"""
import json, pathlib, signal, sys, time
framework = pathlib.Path(__file__).parent.name.removesuffix("_impl")
value = lambda flag: sys.argv[sys.argv.index(flag) + 1]
run = pathlib.Path(value("--output")) / framework
run.mkdir(parents=True, exist_ok=True)
with open("starts.txt", "a") as starts:
    print(value("--seed"), framework, "--go-on" in sys.argv, file=starts)
while pathlib.Path("hold").exists():
    try:
        time.sleep(0.05)
    except KeyboardInterrupt:
        (run / "saved").touch()
        sys.exit(130)
if value("--seed") == "11" and not (run / "checkpoint").exists():
    (run / "checkpoint").touch()
    sys.exit(143)
(run / "metrics.json").write_text(json.dumps({{"metrics": {{n: {{"value": v * (1 + int(value("--seed")) / 1e4)}}
    for n, v in {MEANS!r}.items()}}, "protocol": {PROTOCOL!r}}}))
(run / "status.json").write_text(json.dumps({FINISHED!r}))
"""


def study(folder: Path, *flags: str) -> int:
    words = ["study", "--presets=smoke", "--seeds=10-12", f"--output={folder}", "--cores=2", *flags]
    return report_errors("compare.py", lambda: run_command(words))


def test_what_failed_goes_on_from_its_checkpoint_and_what_is_finished_is_left_alone(stand_in, tmp_path, capsys):
    folder = tmp_path / "study"
    assert study(folder) == 0
    starts = (folder / "starts.txt").read_text().splitlines()
    expected = [f"{seed} {name} True" for seed in (10, 11, 11, 12) for name in ("jax", "torch")]
    assert sorted(starts) == sorted(expected)
    assert "smoke, Coverage: equivalent" in capsys.readouterr().out.replace("\n", " ")
    (folder / "smoke" / "seed12" / "jax" / "status.json").unlink()  # the run folder is what counts
    assert study(folder) == 0
    assert (folder / "starts.txt").read_text().splitlines()[len(starts) :] == ["12 jax True"]
    assert study(folder, "--reserve-seeds=13") == 2


@pytest.mark.slow  # as a study of real runs, which is killed too
def test_a_study_that_is_killed_has_its_runs_save_and_goes_on(stand_in, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    command = [sys.executable, "compare.py", "study", "--presets=smoke", "--seeds=10-12", f"--output={folder}"]
    hook = "import comparison.study.engine as e, tests.comparison.test_study as t, pathlib\n"
    hook += f"e.child_environment = lambda threads: t.environment(pathlib.Path({str(stand_in)!r}))\n"
    hook += f"import sys; sys.argv = {command[1:]!r}; import compare; sys.exit(compare.main())"
    parent = subprocess.Popen([sys.executable, "-c", hook], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(folder / "plan.json")
    (folder / "hold").touch()
    wait_for(folder / "starts.txt")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    with locked(folder):  # once the engine has ended
        assert list(folder.rglob("saved"))
        assert not list(folder.rglob("metrics.json"))
    (folder / "hold").unlink()
    assert study(folder) == 0


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)
