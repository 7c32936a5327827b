"""A comparison gets the certificate of exactly its configuration: found, made, or none with the reason said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.options import parse
from comparison.commands.run import CompareOptions
from comparison.parity import find_certificate
from comparison.parity.find_certificate import certify_runs, parity_command
from comparison.processes import Children, child_flags
from tests.synthetic_runs import write_comparison, write_json

OPTIONS = parse(CompareOptions, ["--preset=smoke", "--threads=1"], program="")


class FakeChildren(Children):
    """Stands for the ladder: notes the command and leaves a certificate, or does not."""

    commands: list[list[str]]
    content: dict[str, Any] | None

    def start(self, command: list[str], num_threads: int, **kwargs: Any) -> Any:
        type(self).commands.append(command)
        path = Path(command[-1].removeprefix("--json="))
        if self.content is not None:
            write_json(path, self.content)
        code = 1 if self.content is None or not self.content["holds"] else 0

        class Process:
            returncode = code if self.content is not None else 2

            @staticmethod
            def communicate() -> tuple[str, str]:
                return "", "python compare.py: parity needs both frameworks"

        return Process


@pytest.fixture
def ladder(monkeypatch) -> type[FakeChildren]:
    FakeChildren.commands, FakeChildren.content = [], {"holds": True}
    monkeypatch.setattr(find_certificate, "Children", FakeChildren)
    return FakeChildren


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = write_comparison(tmp_path / "run")
    for framework in ("torch", "jax"):
        path = folder / framework / "environment.json"
        write_json(path, {**json.loads(path.read_text()), "packages": {"torch": "2", "jax": "1"}})
    return folder


def test_a_certificate_is_made_once_for_runs_of_one_configuration(folder, ladder, capsys):
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == {"holds": True}
    again = shutil.copytree(folder, folder.parent / "again", ignore=shutil.ignore_patterns("parity.json"))
    certify_runs(OPTIONS, again, print)
    assert (again / "parity.json").exists()
    assert len(ladder.commands) == 1
    printed = capsys.readouterr().out
    assert printed.count("climbing") == 1
    assert printed.count("is certified by the ladder") == 2


def test_other_sources_need_another_certificate(folder, ladder):
    certify_runs(OPTIONS, folder, print)
    for framework in ("torch", "jax"):
        path = folder / framework / "environment.json"
        write_json(path, {**json.loads(path.read_text()), "source_hash": "another"})
    certify_runs(OPTIONS, folder, print)
    assert len(ladder.commands) == 2


def test_a_ladder_that_fails_leaves_its_certificate_for_the_report(folder, ladder, capsys):
    ladder.content = {"holds": False}
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == {"holds": False}
    assert "parity does not hold" in capsys.readouterr().out
    ladder.content = {"holds": True}  # mended, or a passing trouble: it is climbed again
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == {"holds": True}


def test_a_damaged_certificate_in_the_store_is_made_again(folder, ladder):
    certify_runs(OPTIONS, folder, print)
    (stored,) = (folder.parent / "certificates").iterdir()
    stored.write_text("{")
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == {"holds": True}
    assert len(ladder.commands) == 2


def test_a_ladder_that_cannot_be_climbed_leaves_none_and_says_why(folder, ladder, capsys):
    ladder.content = None
    certify_runs(OPTIONS, folder, print)
    assert not (folder / "parity.json").exists()
    assert "parity needs both frameworks" in capsys.readouterr().out


def test_runs_under_different_conditions_are_not_certified(folder, ladder, capsys):
    path = folder / "jax" / "environment.json"
    write_json(path, {**json.loads(path.read_text()), "num_threads": 1})
    certify_runs(OPTIONS, folder, print)
    assert ladder.commands == []
    assert "same conditions" in capsys.readouterr().out


def test_bfloat16_is_not_certified(folder, ladder, capsys):
    options = parse(CompareOptions, ["--precision=bfloat16"], program="")
    certify_runs(options, folder, print)
    assert ladder.commands == []
    assert "bfloat16" in capsys.readouterr().out


def test_the_ladder_is_climbed_for_exactly_the_flags_of_the_runs():
    command = parity_command(child_flags(OPTIONS), Path("there.json"))
    assert {"--preset=smoke", "--batch-size=32", "--threads=1", "--variant=tuned", "--quick"} <= set(command)
    assert command[-1] == "--json=there.json"
