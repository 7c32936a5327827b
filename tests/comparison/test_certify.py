"""A comparison gets the certificate of exactly its configuration: found, made, or none with the reason said."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import grimp
import pytest

from common.networks.build import build_architecture
from common.options import parse
from common.records import environment
from common.records.environment import TRAINING_SOURCES, source_hash
from comparison.commands.run import CompareOptions
from comparison.parity import find_certificate
from comparison.parity.find_certificate import certify_runs, parity_command
from comparison.parity.identity import LADDER_SOURCES, identity_hash, identity_of, ladder_hash
from comparison.processes import Children, child_flags
from tests.synthetic_runs import write_comparison, write_json

OPTIONS = parse(CompareOptions, ["--preset=smoke", "--threads=1"], program="")


HOLDS, FAILS = ({"holds": holds, "quick": True, "rungs": []} for holds in (True, False))


class FakeChildren(Children):
    """Stands for the ladder: notes the command and leaves a certificate, or does not."""

    commands: list[list[str]]
    content: dict[str, Any] | None

    def start(self, command: list[str], num_threads: int, **kwargs: Any) -> Any:
        type(self).commands.append(command)
        path = Path(command[-1].removeprefix("--json="))
        if self.content is not None:
            write_json(path, self.content)
        code = 2 if self.content is None else int(not self.content["holds"])

        class Process:
            stdout = io.StringIO("rung  0  float64  ...\n")
            stderr = io.StringIO("python compare.py: parity needs both frameworks")

            @staticmethod
            def wait() -> int:
                return code

        return Process


@pytest.fixture
def ladder(monkeypatch) -> type[FakeChildren]:
    FakeChildren.commands, FakeChildren.content = [], HOLDS
    monkeypatch.setattr(find_certificate, "Children", FakeChildren)
    return FakeChildren


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = write_comparison(tmp_path / "run")
    for framework in ("torch", "jax"):
        path = folder / framework / "environment.json"
        write_json(path, {**json.loads(path.read_text()), "packages": {"torch": "2", "jax": "1"}, "package_hashes": {}})
    return folder


def test_a_certificate_is_made_once_for_runs_of_one_configuration(folder, ladder, capsys):
    certify_runs(OPTIONS, folder, print, before_climbing=lambda: print("the report so far"))
    assert json.loads((folder / "parity.json").read_text()) == HOLDS
    again = shutil.copytree(folder, folder.parent / "again", ignore=shutil.ignore_patterns("parity.json"))
    certify_runs(OPTIONS, again, print, before_climbing=lambda: print("the report so far"))
    assert (again / "parity.json").exists()
    assert len(ladder.commands) == 1
    printed = capsys.readouterr().out
    assert printed.count("the report so far\nParity: climbing") == printed.count("the report so far") == 1
    assert printed.count("climbing") == 1
    assert printed.count("is certified by the ladder") == 2


def test_a_run_s_ladder_goes_on_from_its_last_checkpoint_and_one_that_has_gone_on_from_none_is_climbed_again(
    folder, ladder
):
    certify_runs(OPTIONS, folder, print)  # of another run, which has kept no checkpoint, or by the benchmark
    checkpoints = folder / "torch" / "checkpoints"
    checkpoints.mkdir()
    for step in (64, 128):
        (checkpoints / f"step_{step:08}.safetensors").touch()
    ladder.content = HOLDS | {"went_on_from_checkpoint": True}
    certify_runs(OPTIONS, folder, print)
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text())["went_on_from_checkpoint"]
    assert [[flag for flag in command if flag.startswith("--checkpoint")] for command in ladder.commands] == [
        [],
        [f"--checkpoint={checkpoints / 'step_00000128.safetensors'}"],
    ]


def test_other_sources_need_another_certificate(folder, ladder):
    certify_runs(OPTIONS, folder, print)
    for framework in ("torch", "jax"):
        path = folder / framework / "environment.json"
        write_json(path, {**json.loads(path.read_text()), "source_hash": "another"})
    certify_runs(OPTIONS, folder, print)
    assert len(ladder.commands) == 2


def test_a_ladder_that_fails_leaves_its_certificate_for_the_report(folder, ladder, capsys):
    ladder.content = FAILS
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == FAILS
    assert "parity does not hold" in capsys.readouterr().out
    ladder.content = HOLDS  # mended, or a passing trouble: it is climbed again
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == HOLDS


def test_a_damaged_certificate_in_the_store_is_made_again(folder, ladder):
    certify_runs(OPTIONS, folder, print)
    (stored,) = (folder.parent / "certificates").iterdir()
    stored.write_text("{")
    certify_runs(OPTIONS, folder, print)
    assert json.loads((folder / "parity.json").read_text()) == HOLDS
    assert len(ladder.commands) == 2


def test_a_ladder_that_cannot_be_climbed_leaves_none_and_says_why(folder, ladder, capsys):
    ladder.content = None
    certify_runs(OPTIONS, folder, print)
    assert not (folder / "parity.json").exists()
    assert "parity needs both frameworks" in capsys.readouterr().out


def test_where_nothing_can_be_kept_beside_a_run_its_own_folder_keeps_the_certificate(folder, ladder):
    (folder.parent / "certificates").touch()  # the folder of a container's volume cannot be written either
    certify_runs(OPTIONS, folder, print)
    certify_runs(OPTIONS, folder, print)
    assert len(ladder.commands) == 1
    assert len(list((folder / "certificates").iterdir())) == 1
    assert json.loads((folder / "parity.json").read_text())["holds"]


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


ROOT = Path(__file__).parents[2]
KEEPS = (
    "common/commands/sample.py",
    "common/commands/dispatch.py",
    "common/pictures/compose.py",
    "common/records/folder.py",
    "common/evaluation/metrics.py",
    "comparison/report/write.py",
    "comparison/bench/session.py",
    "comparison/commands/parity.py",
    "comparison/parity/certificate.py",
    "comparison/parity/identity.py",
    "comparison/parity/whole_runs.py",
    "comparison/parity/planted/late.py",
)
VOIDS = (
    "common/config.py",
    "common/contract.py",
    "common/networks/presets.py",
    "common/data/randomness.py",
    "common/training/loop.py",
    "torch_impl/steps.py",
    "jax_impl/tuned/convolution.py",
    "comparison/parity/ladder.py",
    "comparison/parity/rungs/pieces.py",
    "comparison/parity/probes/torch_probe.py",
    "comparison/parity/rounding_noise.py",
    "comparison/parity/first_steps.py",
)
# Though a trainer, or the ladder, imports them.
DECIDE_NO_NUMBER = {
    "common/console",
    "common/errors",
    "common/safe_read",
    "common/records/environment",
    "comparison/parity/options",
}


@pytest.fixture(scope="module")
def copied_sources(tmp_path_factory) -> Path:
    """A copy of the project's Python files."""
    root = tmp_path_factory.mktemp("project")
    for package in ("common", "comparison", "torch_impl", "jax_impl"):
        for path in (ROOT / package).rglob("*.py"):
            copy = root / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return root


HERE = environment.describe_environment()


def hash_now() -> str:
    config = OPTIONS.config
    networks = build_architecture(config)
    found = identity_of(
        config,
        networks,
        environment=HERE,
        num_threads=1,
        data_sha256="0",
        devices={},
        device_flags={},
        execution={},
        accelerator={},
    )
    return identity_hash(found)


@pytest.mark.parametrize("place", [*KEEPS, *VOIDS])
def test_an_edit_voids_a_certificate_if_and_only_if_it_can_change_a_number(place, copied_sources, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", copied_sources)
    before = hash_now()
    source = (copied_sources / place).read_bytes()
    (copied_sources / place).write_bytes(source + b"# edited\n")
    after = hash_now()
    (copied_sources / place).write_bytes(source)
    assert (before == after) is (place in KEEPS)


def test_an_edit_of_a_tolerance_or_of_a_new_rung_voids_a_certificate(copied_sources, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", copied_sources)
    before = ladder_hash()
    rung = copied_sources / "comparison/parity/rungs/pieces.py"
    source = rung.read_text()
    assert "1e-12" in source
    rung.write_text(source.replace("1e-12", "1e-11", 1))
    assert ladder_hash() != before
    rung.write_text(source)
    assert ladder_hash() == before
    new = rung.with_name("new.py")
    new.touch()
    assert ladder_hash() != before
    new.unlink()


def test_a_framework_s_hash_is_its_own_twin_s(copied_sources, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", copied_sources)
    before = {framework: source_hash(framework) for framework in ("torch", "jax")}
    (copied_sources / "jax_impl" / "new.py").touch()
    assert source_hash("torch") == before["torch"]
    assert source_hash("jax") != before["jax"]
    (copied_sources / "jax_impl" / "new.py").unlink()


def test_whatever_the_ladder_and_the_twins_import_is_in_their_hashes():
    graph = grimp.build_graph("common", "comparison", "torch_impl", "jax_impl")

    def outside(module: str, package: str, places: tuple[str, ...]) -> set[str]:
        upstream = {module, *graph.find_upstream_modules(module)}
        files = {name.replace(".", "/") for name in upstream if name.startswith(f"{package}.")}
        return {f for f in files if not any(f"{f}.py" == place or f"{f}/".startswith(f"{place}/") for place in places)}

    for module in ("setup", "ladder"):
        assert outside(f"comparison.parity.{module}", "comparison", LADDER_SOURCES) <= DECIDE_NO_NUMBER
    for twin in ("torch_impl", "jax_impl"):
        assert outside(f"{twin}.trainer", "common", TRAINING_SOURCES) <= DECIDE_NO_NUMBER
