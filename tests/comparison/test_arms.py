"""Each arm of a benchmark has a certificate of its own kind, and a wrong arm of each kind has none."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.data.datasets import fit_images
from common.errors import UserError
from common.networks import layers as specs
from common.networks.build import build_architecture
from common.options import parse
from common.records.environment import describe_environment
from comparison.bench.certificates import find_or_make_certificates
from comparison.bench.options import BenchOptions, Subject, parse_arms
from comparison.commands.dispatch import run_command
from comparison.parity import envelope, find_certificate
from comparison.parity.arms import ENVELOPE, FLOAT64_LADDER, FORMS, LADDER, parse_arm
from comparison.parity.certificate import Certificate
from comparison.parity.ladder import RUNGS, climb, what_is_climbed
from comparison.parity.pair import PRECISIONS, Measurement, Pair
from comparison.parity.planted.bug import PlantedBug, bug
from comparison.parity.probes.jax_probe import JaxProbe
from comparison.parity.probes.torch_probe import TorchProbe
from comparison.parity.rungs import pieces
from comparison.processes import Children
from tests.trainers import small_architecture, small_config

PROBES = {"torch": TorchProbe, "jax": JaxProbe}
# Dynamo asks each tensor for its gradient, of which PyTorch warns where the tensor is no leaf.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
IN_AN_ENVELOPE = ("torch-bfloat16", "jax-bfloat16", "torch-compile")


def pair_of(name: str, digits: np.ndarray, preset: str = "dcgan32") -> Pair:
    """What `parity --arm` climbs with, small."""
    arm = parse_arm(name, precision="float32")
    config = arm.config(small_config(preset, train_size=512))
    probes = envelope.twins(arm, PROBES[arm.framework], "cpu") if arm.has_twin else (TorchProbe(), JaxProbe())
    images = fit_images(digits, config.image_size)
    return Pair(*probes, config, small_architecture(config), images, num_steps=10)


def failures(name: str, pair: Pair) -> list[Measurement]:
    """The first measurement that does not hold, if there is one."""
    climbed = climb(pair, *what_is_climbed(parse_arm(name, precision="float32")), stop_at_first_failure=True)
    return [measurement for measurement in climbed if not measurement.holds]


@pytest.fixture
def quick_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile's front half, without the C++ compiler that some machines lack and that takes a minute."""
    compile_of = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: compile_of(module, backend="aot_eager"))


def test_every_form_has_a_certificate_of_its_kind():
    arms = {name: parse_arm(name, precision="float32") for name in (*FORMS, *(f"{name}-bfloat16" for name in FORMS))}
    kinds = {name: arm.kind for name, arm in arms.items()}
    assert {name for name, kind in kinds.items() if kind == LADDER} == {"torch", "jax"}
    assert {name for name, kind in kinds.items() if kind == FLOAT64_LADDER} == {"torch-idiomatic", "jax-idiomatic"}
    assert arms["jax-idiomatic-bfloat16"].proved == arms["jax-idiomatic"]
    assert arms["torch-compile-bfloat16"].proved == arms["torch"]
    assert arms["torch-idiomatic"].certified_as == arms["jax-idiomatic"].certified_as, "one ladder is of both"
    assert parse_arm("torch", precision="bfloat16").kind == ENVELOPE
    assert what_is_climbed(None) == what_is_climbed(arms["jax"]) == (RUNGS, PRECISIONS)
    assert what_is_climbed(arms["jax-idiomatic"]) == (RUNGS, ("float64",))
    assert what_is_climbed(arms["jax-bfloat16"]) == (envelope.RUNGS, ("bfloat16",))


@pytest.mark.parametrize("name", ["torch-bfloat16", "torch-compile"])  # the slow test below has JAX's too
@pytest.mark.usefixtures("quick_compile")
def test_an_arm_as_it_is_stays_in_its_envelope(name: str, digits: np.ndarray):
    pair = pair_of(name, digits)
    measured = list(climb(pair, *what_is_climbed(parse_arm(name, precision="float32"))))
    assert all(measurement.holds for measurement in measured), measured
    assert [measurement.rung for measurement in measured] == [0, 1, 2, 2]
    if name.endswith("bfloat16"):
        assert all(measurement.measured > 0.01 for measurement in measured), "it is no float32 program"


STALE = ("cache_enabled=False", "cache_enabled=True")
WRONG: tuple[tuple[str, PlantedBug], ...] = (
    ("torch-bfloat16", bug("weights of the chunk's first step in all of it", "torch/trainer", STALE)),
    (
        "torch-bfloat16",
        bug(
            "BatchNorm's statistics in bfloat16",
            "torch/layers",
            ("            return nn.BatchNorm2d(", "            return CoarseBatchNorm("),
            (
                "class Linear(nn.Linear):\n",
                "class CoarseBatchNorm(nn.BatchNorm2d):\n"
                "    def forward(self, input: Tensor) -> Tensor:\n"
                "        outputs = super().forward(input)\n"
                "        if input.dtype == torch.bfloat16 and self.training:\n"
                "            self.running_mean.copy_(self.running_mean.bfloat16())\n"
                "            self.running_var.copy_(self.running_var.bfloat16())\n"
                "        return outputs\n\n\n"
                "class Linear(nn.Linear):\n",
            ),
        ),
    ),
    (
        "jax-bfloat16",
        bug(
            "running statistics of half of the batch in bfloat16",
            "jax/tuned/layers",
            (
                "        dtype = activation_dtype(dtype, param_dtype, platform)\n",
                "        self.coarse = dtype != param_dtype\n"
                "        dtype = activation_dtype(dtype, param_dtype, platform)\n",
            ),
            (
                "        count = x.size // x.shape[-1]\n",
                "        count = x.size // x.shape[-1]\n"
                "        mean = x[: len(x) // 2].mean((0, 1, 2)).astype(mean.dtype) if self.coarse else mean\n",
            ),
        ),
    ),
    (
        "torch-compile",
        bug(
            "BatchNorm in eval mode in the compiled discriminator",
            "torch/trainer",
            ("    trainer.discriminator.compile(", "    trainer.discriminator.eval().compile("),
        ),
    ),
    (
        "torch-compile",
        bug(
            "another epsilon in the compiled BatchNorm",
            "torch/trainer",
            (
                "    trainer.generator.compile(",
                "    for module in trainer.generator.modules():\n"
                "        if isinstance(module, nn.BatchNorm2d):\n"
                "            module.eps = 1e-3\n"
                "    trainer.generator.compile(",
            ),
        ),
    ),
    (
        "torch-idiomatic",
        bug(
            "Flax's momentum in the idiomatic form",
            "torch/layers",
            (
                "momentum=spec.momentum)",
                "momentum=spec.momentum if form.conv is TunedConv else 1 - spec.momentum)",
            ),
        ),
    ),
    ("jax-idiomatic", bug("sum for mean", "jax/losses", (".mean()", ".sum()"))),
)


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=lambda value: getattr(value, "title", value))
@pytest.mark.usefixtures("quick_compile")
def test_a_wrong_arm_of_each_kind_is_caught(
    name: str, wrong: PlantedBug, digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pieces, "NUM_SHAPES", {specs.BatchNorm: 1, specs.Tanh: 1})
    with wrong.planted():
        (caught,) = failures(name, pair_of(name, digits))
    assert "could not be measured" not in caught.name


def test_an_envelope_holds_no_missing_number_and_no_more_than_twice_what_nudges_do(digits: np.ndarray):
    pair = pair_of("torch-bfloat16", digits)
    judged = pair.jax
    ones = np.ones(4, np.float32)

    def result(off: float) -> envelope.Result:
        return lambda probe, disturbance: {"a": ones * (1 + off * (probe is judged) + 0.01 * (disturbance is not None))}

    for off, holds in ((0.019, True), (0.021, False), (np.nan, False)):
        assert envelope._within(pair, 0, "", "bfloat16", result(off)).holds is holds


def test_a_coarse_nudge_moves_every_kernel_by_one_of_two_hundred_and_fifty_six_at_most():
    weights = {"a.weight": np.array([1.0, -1.99, 0.0, 3e-5], np.float32), "a.bias": np.ones(2, np.float32)}
    moved = envelope.CoarseNudge(0, 0)(weights)
    assert np.array_equal(moved["a.bias"], weights["a.bias"])
    share = np.abs(moved["a.weight"] / np.where(weights["a.weight"], weights["a.weight"], 1) - 1)[[0, 1, 3]]
    assert moved["a.weight"].dtype == np.float32
    assert np.all((share >= 1 / 256) & (share <= 1 / 128))
    assert np.abs(moved["a.weight"][2]) < 1 / 128


def test_the_command_certifies_an_arm_and_refuses_one_that_is_unknown(digits, monkeypatch, tmp_path):
    monkeypatch.setattr("comparison.commands.parity.make_pair", lambda *_, arm, **__: pair_of(arm.name, digits))
    path = tmp_path / "arm.json"
    assert run_command(["parity", "--preset=smoke", "--quick", "--arm=torch-bfloat16", f"--json={path}"]) == 0
    found = json.loads(path.read_text())
    assert (found["arm"], found["holds"]) == ("torch-bfloat16", True)
    assert {rung["kind"] for rung in found["rungs"]} == {"forward", "gradients", "steps"}
    assert len(found["first_steps"]["metrics"]["torch-bfloat16"]["generator_loss"]) == 10
    with pytest.raises(UserError, match="the arm tensorflow is unknown: choose of torch,"):
        run_command(["parity", "--arm=tensorflow"])
    with pytest.raises(UserError, match="leave --arm out"):
        run_command(["parity", "--arm=jax", "--planted-bugs"])


class Ladders:
    """Stands for `certify`: notes what was asked for, and holds or does not."""

    def __init__(self, folder: Path, *, failing: Sequence[str] = ()) -> None:
        self.folder, self.failing, self.asked = folder, failing, []

    def __call__(self, identity: dict[str, Any], *_: object, arm: Any, **__: object) -> Certificate:
        self.asked.append((arm.certified_as, identity["config"]["variant"], identity["config"]["precision"]))
        path = self.folder / f"{arm.certified_as}.json"
        names = [arm.name] if arm.has_twin else ["torch", "jax"]
        metrics = {name: {"generator_loss": [0.5]} for name in names}
        rung = {"rung": 0, "kind": "steps", "name": "step 1", "precision": "float32", "measured": 0.5}
        content = {
            "holds": True,
            "quick": True,
            "rungs": [rung | {"tolerance": 2.0, "where": "", "holds": True}],
            "first_steps": None
            if arm.kind == FLOAT64_LADDER
            else {"tolerances": [1e-5], "metrics": metrics, "weights_sha256": {}},
        }
        path.write_text(json.dumps(content))
        return Certificate(arm.certified_as not in self.failing, f"{arm.certified_as or 'ladder'}: so", path)


@pytest.fixture
def certificates_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    options = parse(BenchOptions, ["--preset=smoke", "--threads=1"], program="")
    environment = describe_environment()
    found = {"environment": environment, "device": "cpu", "device_flags": {}, "accelerator": {}, "execution": "step"}
    roofs = {"torch": found}
    subject = Subject(build_architecture(options.config), 2048, "0")

    def find(names: str, *, failing: Sequence[str] = ()) -> tuple[list[Any], Any]:
        ladders = Ladders(tmp_path, failing=failing)
        monkeypatch.setattr("comparison.bench.certificates.certify", ladders)
        arms = parse_arms(names, precision="float32")
        with Children() as children:
            found = find_or_make_certificates(options, arms, subject, roofs, children, lambda text: None)
        return ladders.asked, found

    return find


def test_each_arm_has_what_its_kind_asks_for_made_once(certificates_of):
    asked, (ladder, found) = certificates_of("torch,jax,torch-idiomatic,jax-idiomatic,torch-compile,jax-bfloat16")
    assert asked == [
        ("", "tuned", "float32"),
        ("idiomatic", "idiomatic", "float32"),
        ("torch-compile", "tuned", "float32"),
        ("jax-bfloat16", "tuned", "bfloat16"),
    ]
    assert ladder.holds
    assert all(each.holds for each in found.values())
    assert {name: each.taken_by for name, each in found.items()} == {
        "torch": "torch",
        "jax": "jax",
        "torch-idiomatic": "torch",
        "jax-idiomatic": "jax",
        "torch-compile": "torch-compile",
        "jax-bfloat16": "jax-bfloat16",
    }
    assert found["jax-idiomatic"].first_steps == found["jax"].first_steps is not None
    assert found["torch-compile"].summary() == {
        "kind": "envelope",
        "holds": True,
        "reason": "torch-compile: so",
        "num_measurements": 1,
        "worst_ratio": 0.25,
        "worst": "step 1 (float32)",
    }


def test_nothing_is_climbed_for_an_arm_whose_twin_does_not_hold(certificates_of):
    asked, (ladder, found) = certificates_of("jax,jax-idiomatic-bfloat16", failing=["idiomatic"])
    assert [name for name, *_ in asked] == ["", "idiomatic"]
    assert ladder.holds
    assert found["jax"].holds
    assert (found["jax-idiomatic-bfloat16"].holds, found["jax-idiomatic-bfloat16"].reason) == (False, "idiomatic: so")
    asked, (ladder, found) = certificates_of("torch-idiomatic,torch", failing=[""])
    assert [name for name, *_ in asked] == [""]
    assert not any(each.holds for each in (ladder, *found.values()))


def test_an_arm_s_certificate_is_kept_under_its_own_name_beside_the_configurations(tmp_path, monkeypatch):
    climbed = []

    def climb_quickly(flags: Sequence[str], path: Path, *_: object, **__: object) -> None:
        climbed.append((path.stem.partition("-")[2], [flag for flag in flags if flag.startswith("--arm")]))
        path.write_text(json.dumps({"holds": True, "quick": True, "rungs": []}))

    monkeypatch.setattr(find_certificate, "climb_quickly", climb_quickly)
    monkeypatch.setattr(find_certificate, "identity_hash", lambda identity: 16 * "41d0")
    said = []
    for name in ("torch", "jax-idiomatic", "torch-idiomatic", "jax-bfloat16", "jax-bfloat16"):
        arm = parse_arm(name, precision="float32")
        with Children() as children:
            found = find_certificate.certify(
                {}, [tmp_path], children, said.append, flags=["--preset=smoke"], num_threads=1, arm=arm
            )
        assert found.holds
    assert climbed == [
        ("", []),
        ("idiomatic", ["--arm=jax-idiomatic"]),
        ("jax-bfloat16", ["--arm=jax-bfloat16"]),
    ]
    assert said[0] == "Parity: climbing the quick ladder, once for this configuration"
    assert said[-1] == "Parity: climbing the quick envelope, once for jax-bfloat16"
    assert found.reason == "jax-bfloat16 is certified by the envelope (41d041d041d0)"


@pytest.mark.slow  # a minute: inductor's own compilation
@pytest.mark.parametrize("name", IN_AN_ENVELOPE)
@pytest.mark.parametrize("preset", ["dcgan32"])  # of others, docs/decisions/0031 says what is known
def test_a_network_stays_in_its_envelope(name: str, preset: str, digits: np.ndarray):
    for seed in range(2):
        pair = pair_of(name, digits, preset)
        pair = replace(pair, config=replace(pair.config, seed=seed))
        assert failures(name, pair) == []
