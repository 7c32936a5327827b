"""A whole run in this process, with what a failing framework or a damaged evaluator can do to it."""

import json
from typing import Any

import common.training.prepare
from common.errors import UserError
from tests.counting import FLAGS, CountingTrainer, run


def failing_after(num_chunks: int, error: BaseException) -> type[CountingTrainer]:
    """A trainer that raises instead of running the chunk after the first `num_chunks`."""

    class Failing(CountingTrainer):
        num_left = num_chunks

        def train_chunk(self, real_images, latents):
            if self.num_left == 0:
                raise error
            self.num_left -= 1
            return super().train_chunk(real_images, latents)

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
