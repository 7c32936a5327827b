"""A whole run in this process, with what a failing framework or a damaged evaluator can do to it."""

import json
from pathlib import Path
from typing import Any

import common.training.prepare
import common.training.run
from common.errors import UserError
from tests.counting import FLAGS, CountingTrainer, run


def failing_after(num_chunks: int, error: BaseException) -> type[CountingTrainer]:
    """A trainer that raises instead of running the chunk after the first `num_chunks`."""

    class Failing(CountingTrainer):
        num_left = num_chunks

        def train_chunk(self, indices, latents, decays):
            if self.num_left == 0:
                raise error
            self.num_left -= 1
            return super().train_chunk(indices, latents, decays)

    return Failing


def status_of(folder) -> dict[str, Any]:
    return json.loads((folder / "torch" / "status.json").read_text())


def test_a_failure_in_the_first_epoch_keeps_the_steps_before_it_and_its_own_message(tmp_path, capsys):
    trainer = failing_after(1, MemoryError("no memory for 3 images"))
    assert run("torch", *FLAGS, f"--output={tmp_path}", trainer=trainer) == 1
    assert "no memory for 3 images" in capsys.readouterr().err
    status = status_of(tmp_path)
    assert (status["status"], status["step"], status["epoch"]) == ("failed", 16, 0)
    assert len((tmp_path / "torch" / "losses.csv").read_text().splitlines()) == 17
    assert json.loads((tmp_path / "torch" / "timing.json").read_text())["loop_overhead_fraction"] >= 0
    assert "MemoryError" in (tmp_path / "torch" / "error.txt").read_text()


def test_a_failure_before_the_first_step_is_recorded_too(tmp_path, capsys):
    trainer = failing_after(0, ValueError("nothing at all"))
    assert run("torch", *FLAGS, f"--output={tmp_path}", trainer=trainer) == 1
    assert "nothing at all" in capsys.readouterr().err
    assert status_of(tmp_path)["status"] == "failed"


def test_stopping_at_once_keeps_the_steps_before_it(tmp_path):
    trainer = failing_after(1, KeyboardInterrupt())
    assert run("torch", *FLAGS, f"--output={tmp_path}", trainer=trainer) == 130
    status = status_of(tmp_path)
    assert (status["status"], status["step"]) == ("interrupted", 16)


def test_a_damaged_evaluator_is_found_before_the_training(tmp_path, monkeypatch, capsys):
    def damaged() -> None:
        raise UserError("mnist_features.onnx is not the committed feature network")

    monkeypatch.setattr(common.training.prepare, "is_scored", lambda dataset: True)
    monkeypatch.setattr(common.training.prepare, "load_feature_network", damaged)
    assert run("torch", *FLAGS, f"--output={tmp_path / 'new'}") == 2
    assert "feature network" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_run_that_goes_on_keeps_what_trained_its_earlier_steps(tmp_path, monkeypatch):
    def trained(source: str, *flags: object, **how: Any) -> int:
        monkeypatch.setattr(common.training.run, "source_hash", lambda framework: source)
        return run("torch", *FLAGS, *flags, **how)

    def processes(folder: Path) -> list[tuple[str, int, bool]]:
        found = json.loads((folder / "torch" / "environment.json").read_text())
        return [(p["source_hash"], p["resumed_at_step"], p["resumed_in_place"]) for p in [*found["past"], found]]

    half, elsewhere = tmp_path / "run" / "torch", tmp_path / "elsewhere"
    assert trained("doubled", "--epochs=1", f"--output={half.parent}") == 0
    assert processes(half.parent) == [("doubled", 0, False)]
    fails = failing_after(0, ValueError("at once"))
    assert trained("broken", "--epochs=2", f"--resume={half}", trainer=fails) == 1
    assert trained("mended", "--epochs=2", f"--resume={half}") == 0
    assert processes(half.parent) == [("doubled", 0, False), ("mended", 32, True)]
    assert trained("mended", "--epochs=3", f"--resume={half}", f"--output={elsewhere}") == 0
    assert processes(elsewhere) == [("doubled", 0, False), ("mended", 32, True), ("mended", 64, False)]


def test_a_finished_run_is_logged_to_the_tracker_that_was_asked_for(tmp_path, monkeypatch, capsys):
    logged = []
    monkeypatch.setattr(common.training.run, "check_tracker", lambda name: logged.append(name))
    monkeypatch.setattr(common.training.run, "log_run", lambda *words: logged.append(words) or "viewer PLACE")
    assert run("torch", *FLAGS, f"--output={tmp_path}", "--log-to=wandb") == 0
    assert logged == ["wandb", (tmp_path / "torch", "torch", "wandb")]
    assert "show it with viewer PLACE" in capsys.readouterr().out.replace("\n", " ")
