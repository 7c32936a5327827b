"""What `make gpu` measures, rehearsed on a CPU: one JSON, kept when it is cut off, from which a page is written."""

import importlib
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import comparison.publish.gpu
from common.commands.dispatch import standalone
from common.errors import RunFailedError, UserError
from comparison.bench.gpu import session as sessions
from comparison.bench.gpu.parts import ARMS, parts
from comparison.bench.gpu.session import Part, Session
from comparison.bench.gpu.watch import REASONS, SAMPLED, summary
from comparison.processes import Children, last_words


def session(path: Path, *, seconds: float = 600) -> Session:
    return Session(
        path=path,
        device="cpu",
        is_rehearsal=True,
        num_threads=1,
        seconds=seconds,
        children=Children(),
        say=lambda line: None,
    )


def part(name: str, outcome: dict | BaseException) -> Part:
    def measure(_: Session) -> dict:
        if isinstance(outcome, BaseException):
            raise outcome
        return dict(outcome)

    return Part(name, 10, measure)


def test_what_was_measured_is_kept_and_not_measured_again(tmp_path):
    path, found = tmp_path / "gpu.json", {"value": 1}
    session(path).run([part("a", found), part("b", RunFailedError("no graph"))])
    record = json.loads(path.read_text())
    assert record["parts"]["a"]["value"] == 1
    assert record["parts"]["b"]["failed"] == "no graph"
    again = session(path).run([part("a", {"value": 2}), part("b", {"value": 2}), part("c", {"value": 3})])
    assert [again["parts"][name].get("value") for name in "abc"] == [1, None, 3]
    assert again["left_out"] == []


def test_a_session_that_is_cut_off_has_written_what_came_before(tmp_path):
    path = tmp_path / "gpu.json"
    with pytest.raises(KeyboardInterrupt):
        session(path).run([part("a", {"value": 1}), part("b", KeyboardInterrupt()), part("c", {})])
    record = json.loads(path.read_text())
    assert list(record["parts"]) == ["a"]
    assert record["left_out"] == ["b", "c"]


def test_parts_that_time_does_not_allow_are_named(tmp_path):
    record = session(tmp_path / "gpu.json", seconds=0).run([part("a", {})])
    assert record["parts"] == {}
    assert record["left_out"] == ["a"]


def test_another_machine_s_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "gpu.json"
    session(path).run([part("a", {})])
    monkeypatch.setattr(sessions, "hash_of_sources", lambda *_: "others")
    with pytest.raises(UserError, match="is of another GPU, driver, package or source"):
        session(path).run([part("b", {})])


def test_a_part_that_takes_too_long_is_ended(tmp_path):
    def slow(of: Session) -> dict:
        return {"printed": of.python("timeit", "-n1", "-r1", "import time; time.sleep(60)")}

    record = session(tmp_path / "gpu.json").run([Part("slow", 1, slow)])
    assert "took too long" in record["parts"]["slow"]["failed"]


def test_a_part_that_the_call_s_end_cut_short_is_left_to_the_next_call(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "SHORTEST_PART_SECONDS", 0)

    def slow(of: Session) -> dict:
        return {"printed": of.python("timeit", "-n1", "-r1", "import time; time.sleep(60)")}

    parts_of_it = [part("quick", {"value": 1}), Part("slow", 60, slow), part("after", {})]
    record = session(tmp_path / "gpu.json", seconds=0.5).run(parts_of_it)
    assert list(record["parts"]) == ["quick"]
    assert record["left_out"] == ["slow", "after"]
    record = session(tmp_path / "gpu.json", seconds=0.5).run(parts_of_it)
    assert "took too long" in record["parts"]["slow"]["failed"], "a whole call was not enough: it is not tried for ever"


def in_this_process(_: Session, module: str, *words: object, **__: object) -> str:
    """`Session.python` where the frameworks are loaded already, which takes seconds in a process of its own."""
    if module == "pip":
        return ""
    load_framework = importlib.import_module(f"{module}.__main__").load_framework
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = standalone(module.removesuffix("_impl"), load_framework, list(map(str, words)))
    if code != 0:
        raise RunFailedError(last_words(code, errors.getvalue()))
    return output.getvalue()


@pytest.mark.parametrize("python", [in_this_process, pytest.param(Session.python, marks=pytest.mark.slow)])
def test_the_rehearsal_s_parts_work_and_what_pytorch_needs_cuda_for_says_so(python, tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "python", python)
    names = ("facts", "arm/smoke/8/float32/torch-step", "arm/smoke/8/float32/torch-chunk")
    chosen = [part for part in parts(is_rehearsal=True) if part.name in names]
    found = session(tmp_path / "gpu.json").run(chosen)["parts"]
    assert found["facts"]["devices"] == {"torch": "cpu", "jax": "cpu"}
    arm = found["arm/smoke/8/float32/torch-step"]
    assert arm["milliseconds_per_step"] > 0
    assert arm["execution"] == "step"
    assert arm["recompile_seconds"] == 0
    assert "needs CUDA" in found["arm/smoke/8/float32/torch-chunk"]["failed"]


def test_every_form_of_a_gpu_is_measured_and_the_first_parts_tell_the_most():
    names = [part.name for part in parts(is_rehearsal=False)]
    assert len({*names}) == len(names)
    assert {name.rsplit("/", 1)[1] for name in names if name.startswith("arm/")} == {*ARMS}
    assert {name.split("/")[0] for name in names} == {*comparison.publish.gpu.KINDS}
    assert names[0] == "facts"


def sample(moment: float, watts: str, reason: str, used: str = "[N/A]") -> tuple[float, list[str]]:
    values = {"clocks.sm": "1980", "power.draw": watts, REASONS[1]: reason, "utilization.gpu": used}
    return moment, [values.get(name, "[N/A]") for name in SAMPLED]


def test_the_watch_adds_up_watts_and_tells_why_the_clock_was_low():
    found = summary([sample(0, "100", "0x1"), sample(1, "300", "0x4"), sample(3, "300", "0x0")])
    assert found is not None
    assert found["energy_joules"] == 800
    assert found["slowed_down_by"] == "0x4"
    assert found["temperature_high"] is None
    assert found["power_watts_when_used"] is None
    assert summary([]) is None


def test_the_power_of_a_step_is_not_that_of_waiting_for_a_compiler():
    found = summary([sample(0, "100", "0x1", "0"), sample(1, "500", "0x0", "98"), sample(2, "300", "0x0", "60")])
    assert found is not None
    assert found["power_watts_when_used"] == 400


def test_the_page_says_what_is_unmeasured_and_a_rehearsal_is_refused(tmp_path, monkeypatch):
    page = tmp_path / "gpu.md"
    page.write_text(comparison.publish.gpu.PAGE.read_text())
    monkeypatch.setattr(comparison.publish.gpu, "PAGE", page)
    comparison.publish.gpu.publish([])
    assert page.read_text() == comparison.publish.gpu.PAGE.read_text()
    assert "Not measured:" in page.read_text()
    rehearsed = tmp_path / "rehearsed.json"
    session(rehearsed).run([part("facts", {})])
    with pytest.raises(UserError, match="is a rehearsal"):
        comparison.publish.gpu.publish([rehearsed])


def test_the_page_of_a_measured_gpu_has_its_numbers_and_what_is_left(tmp_path, monkeypatch):
    arm = {
        "framework": "torch",
        "milliseconds_per_step": 0.2,
        "images_per_second": 320_000.0,
        "gflops_per_second": 30_000,
        "compile_seconds": 3.0,
        "recompile_seconds": 0.25,
    }
    watch = {"power_watts_when_used": 400.0, "clock_mhz": {"high": 1980.0}, "slowed_down_by": "0x4"}
    profile = {"launches_per_step": 1.0, "graph_launches_per_step": 1.0, "cudagraph_skips": 2, "graph_breaks": 0}
    record = session(tmp_path / "gpu.json").run([part("facts", {})])
    record["identity"]["accelerator"] = {"name": "H100", "driver_version": "1", "power.limit": "700"}
    record["parts"] = {
        "arm/dcgan32/64/float32/torch-chunk": {**arm, "gpu": watch, "profile": profile},
        "roof/torch": {"roof": {"float32": {"8192": 60_000.0}}},
        "trajectories": {"num_steps": 50, "apart": {"torch-cpu and torch-gpu": 2e-13}},
        "certificate/dcgan32": {"failed": "took too long"},
    }
    record["left_out"] = ["epochs/jax"]
    published, path = tmp_path / "gpu.md", tmp_path / "measured.json"
    record["identity"]["is_rehearsal"] = False
    path.write_text(json.dumps(record))
    published.write_text(comparison.publish.gpu.PAGE.read_text())
    monkeypatch.setattr(comparison.publish.gpu, "PAGE", published)
    monkeypatch.setattr(comparison.publish.gpu, "FIGURES", tmp_path / "gpu")
    comparison.publish.gpu.publish([path])
    text = published.read_text()
    assert comparison.publish.gpu.CLAIMS_NOTHING not in text
    assert "one GPU: H100, driver 1, at most 700 W.** Measurements that are left: 1." in text
    assert "| dcgan32, 64, float32 | torch-chunk | 0.2 | 320,000 | 0.50 | 1 | 1 | 3.0 | 1980 | 1.25 |" in text
    assert "held down (reasons 0x4 of nvidia-smi); something was compiled for 0.2 s while it was timed; torch" in text
    assert "torch.compile did without a CUDA graph 2 times" in text
    assert "left a graph" not in text
    assert "2.0e-13 apart" in text
    assert "certificate/dcgan32: took too long" in text
    assert "images a second of whole epochs" in text
    assert (tmp_path / "gpu" / "steps.png").exists()
