"""The ladder passes the code as it is, and each rung fails on a difference of the kind it is there for."""

import importlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies

from common.errors import UserError
from common.networks import layers as specs
from common.records.checkpoint import checkpoint_header, save_checkpoint
from comparison.commands.dispatch import run_command
from comparison.commands.parity import detection_matrix, line
from comparison.parity import ladder, rounding_noise, setup
from comparison.parity.certificate import certificate
from comparison.parity.detection import Detection, Detections, detect
from comparison.parity.divergence import accumulation, errors, first_divergence, max_relative, relative_l2, sequence
from comparison.parity.identity import identity_hash
from comparison.parity.options import ParityOptions
from comparison.parity.pair import Measurement, Pair
from comparison.parity.planted import PLANTED_BUGS
from comparison.parity.planted.bug import MODULES
from comparison.parity.probes.jax_probe import JaxProbe
from comparison.parity.probes.torch_probe import TorchProbe
from comparison.parity.rungs import inputs, pieces, slopes, states, training, trajectories
from tests.trainers import WIDTH, small_architecture, small_config

# The fast rungs; `make test-long` climbs them all.
CLEAN_RUNGS = (
    inputs.specification,
    inputs.data_and_noise,
    inputs.loaded_weights,
    pieces.forward,
    pieces.losses,
    pieces.gradients,
    pieces.optimizer,
    training.steps,
    training.samples,
)
BUGS = {bug.title: bug for bug in PLANTED_BUGS}


class DriftingJaxProbe(JaxProbe):
    """JAX, but one kernel grows a little after every chunk of steps."""

    def __init__(self, drift: float) -> None:
        super().__init__()
        self.drift = drift

    def create_trainer(self, config: Any, architecture: Any, images: Any = None) -> Any:
        trainer = super().create_trainer(config, architecture, images)
        train_chunk = trainer.train_chunk

        def drifting(*chunk: np.ndarray) -> Any:
            metrics = train_chunk(*chunk)
            weights = trainer.export_weights()
            weights["generator.layers.3.weight"] *= 1 + self.drift
            trainer.load_weights(weights)
            return metrics

        trainer.train_chunk = drifting
        return trainer


def make_pair(digits: np.ndarray, jax_probe: JaxProbe, *, num_steps: int = 10) -> Pair:
    config = small_config(train_size=512)
    images = np.pad(digits, ((0, 0), (2, 2), (2, 2)))
    return Pair(TorchProbe(), jax_probe, config, small_architecture(config), images, num_steps=num_steps)


@pytest.fixture(scope="module")
def clean_pair(digits) -> Pair:
    return make_pair(digits, JaxProbe())


@pytest.fixture
def pair(digits) -> Pair:
    return make_pair(digits, JaxProbe())


def failures(rung: Callable, pair: Pair, precision: str = "float64") -> list[Measurement]:
    return [measurement for measurement in rung(pair, precision) if not measurement.holds]


@pytest.mark.parametrize("rung", CLEAN_RUNGS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_rung_holds_for_the_code_as_it_is(rung, precision, clean_pair):
    measured = list(rung(clean_pair, precision))
    assert measured
    assert all(measurement.holds for measurement in measured), measured


def test_every_rung_of_the_table_is_climbed_in_order():
    assert len(ladder.RUNGS) == 14, "README.md says fourteen"
    assert [rung.__name__ for rung in ladder.RUNGS][::6] == ["specification", "gradients", "noise_floor"]


def test_no_float64_tolerance_is_too_wide_to_prove_anything(clean_pair):
    """Those that are say so by their names, and what they are about is held more tightly beside them."""
    rungs = [rung for rung in CLEAN_RUNGS if rung is not inputs.data_and_noise]
    measured = [each for rung in (*rungs, trajectories.late) for each in rung(clean_pair, "float64")]
    wide = {each.name for each in measured if each.tolerance > 1e-9 and each.measured > 0}
    assert all("finite differences" in name or "in float32" in name for name in wide), wide


@pytest.mark.parametrize(
    ("title", "rung"),
    [
        ("rate that decays a little at every step", inputs.specification),
        ("samples from the last weights, not from their average", training.samples),
        ("running statistics frozen after 64 batches", trajectories.trajectory),
        ("the generator's loss capped at 5", trajectories.late),
    ],
)
def test_a_late_bug_is_caught_by_the_rung_that_is_there_for_it(title, rung, digits, clean_pair):
    with BUGS[title].planted():
        assert failures(rung, replace(clean_pair.forgetting("torch"), num_steps=100))


def test_every_state_is_compared_to_the_last_tensor(pair):
    """Of whatever a trainer holds, one number moved by a millionth in any tensor shows."""
    weights = pair.trajectory(pair.torch, "float64").at(2).weights
    for name, array in weights.items():
        if array.dtype.kind == "f" and array.any():
            moved = {**weights, name: array * (1 + 1e-6)}
            assert max(states.errors_of_state(moved, weights).values()) > trajectories.TENSOR_TOLERANCE, name


def test_late_states_are_what_their_names_say(clean_pair):
    found = {state.name: state.weights for state in states.late_states(clean_pair, "float64")}
    assert {name for name in found if name.startswith("step")} == {"step 9,999", "step 10,239", "step 99,999"}
    assert found["step 9,999"]["generator.adam.step"] == 9_999
    trainer = clean_pair.trainer(clean_pair.torch, "float64", weights=found["saturated scores"])
    assert max(trainer.train_chunk(*clean_pair.chunk(10, 1)).generator_loss) > 5
    assert np.count_nonzero(found["dead channels"]["generator.layers.0.weight"][:, :2]) == 0
    for weights in found.values():
        clean_pair.trainer(clean_pair.jax, "float64", weights=weights)


@hypothesis.given(
    kind=strategies.sampled_from(list(pieces.NUM_SHAPES)), seed=strategies.integers(0, 2**32 - 1), usual=...
)
@hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
def test_any_layer_of_any_size_is_the_same_in_both(kind: type, seed: int, usual: bool):
    case = pieces.drawn_layer(kind, np.random.default_rng(seed), usual=usual)
    config = small_config(precision="float64")
    reference, found = (probe.layer(config, case, train=True) for probe in (TorchProbe(), JaxProbe()))
    assert {"output", "input gradient", *case.weights} == reference.keys()
    for name, error in errors(found, reference, max_relative).items():
        assert error < 1e-12, name


def test_rung_2_fails_when_a_kernel_is_transposed(pair, monkeypatch):
    monkeypatch.setattr("jax_impl.weights._TO_CANONICAL", (3, 2, 1, 0))
    assert failures(inputs.loaded_weights, pair)


@pytest.mark.parametrize(("slope", "held"), [(1 + 1e-9, True), (1 + 1e-3, False)])
def test_rung_6_holds_gradients_against_finite_differences_which_know_no_autodiff(slope, held, clean_pair, monkeypatch):
    """Both frameworks' gradients off by the same factor: only the third witness can see it."""
    real = {kind: kind.gradients for kind in (TorchProbe, JaxProbe)}
    for kind, gradients in real.items():
        monkeypatch.setattr(
            kind,
            "gradients",
            lambda *arguments, gradients=gradients: {
                name: slope * gradient for name, gradient in gradients(*arguments).items()
            },
        )
    failed = failures(pieces.gradients, replace(clean_pair, _results={}))
    assert [measurement.name for measurement in failed] == (
        [] if held else [f"{name} against central finite differences" for name in ("torch", "jax")]
    )


def test_rung_11_fails_when_one_framework_drifts(digits):
    drifting = make_pair(digits, DriftingJaxProbe(1e-9), num_steps=100)
    failed = failures(trajectories.trajectory, drifting)
    assert any("left alone" in measurement.name for measurement in failed)
    assert any("handed over" in measurement.name for measurement in failed)


@pytest.mark.parametrize(("shares", "held"), [((1, 90, 2, 90), True), ((90, 2, math.nan, 90), False), ((90,), False)])
def test_what_few_states_do_to_one_program_is_excused_and_what_most_do_is_not(shares, held):
    states = [Measurement(12, f"state {index}", "float32", share, 12.0) for index, share in enumerate(shares)]
    assert trajectories.worst_of_the_better_half(states).holds == held


def test_rung_12_fails_when_the_gap_exceeds_what_rounding_explains(digits, monkeypatch):
    """A coarse program has a wide yardstick; the other's is as it was."""
    monkeypatch.setattr(trajectories, "NUM_REORDERINGS", 1)
    drifting = make_pair(digits, DriftingJaxProbe(1e-3), num_steps=2)
    failed = failures(trajectories.noise_floor, drifting, "float32")
    assert [measurement.name.split(":")[0] for measurement in failed] == ["steps 1-5"] * 2
    assert [probe for probe in ("torch", "jax") if any(f"{probe} from itself" in each.name for each in failed)] == [
        "torch",
        "jax",
    ]


@pytest.mark.parametrize("bug", PLANTED_BUGS, ids=lambda bug: bug.title)
def test_every_planted_bug_fits_the_source_and_leaves_the_original_behind(bug):
    module = importlib.import_module(bug.location.removesuffix(".py").replace("/", "."))
    assert module.__file__ is not None
    source, before = Path(module.__file__).read_text(), dict(vars(module))
    assert bug.edited(source) != source
    with bug.planted():
        pass
    assert vars(module).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(module).items())


def test_a_bug_whose_passage_is_gone_is_noticed():
    with pytest.raises(AssertionError, match="not exactly once"):
        PLANTED_BUGS[0].edited("another source")


def test_the_recorded_results_name_every_planted_bug_and_why_some_are_missed():
    page = (Path(__file__).parents[2] / "docs/results/parity.md").read_text()
    caught = sum(not bug.missed_because for bug in PLANTED_BUGS)
    assert f"{caught} of {len(PLANTED_BUGS)} are caught" in page
    for bug in PLANTED_BUGS:
        assert f"| {bug.title} | {bug.location} |" in page
        assert f"missed: {bug.missed_because}" in page or not bug.missed_because
        for edit in bug.edits:
            before, after = (" ⏎ ".join(line.strip() for line in code.strip().splitlines()) for code in edit)
            assert (f"`{before}` becomes `{after}`" if after else f"`{before}` is removed") in page, bug.title


def test_the_tests_that_the_page_names_beside_the_ladder_exist():
    root = Path(__file__).parents[2]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (root / "docs/results/parity.md").read_text())
    assert named
    assert [name for file, name in named if f"def {name}(" not in (root / file).read_text()] == []


def test_planted_bugs_are_on_both_sides_and_each_has_its_own_title():
    assert {bug.framework for bug in PLANTED_BUGS} == set(MODULES)
    assert len(BUGS) == len(PLANTED_BUGS)


@pytest.mark.parametrize(("title", "rung"), [("noise of the step before", 1), ("images in [0, 1]", 4)])
def test_a_planted_bug_is_caught_by_the_rung_that_looks_at_it(title, rung, pair, monkeypatch):
    monkeypatch.setattr(pieces, "NUM_SHAPES", {specs.Tanh: 1})
    _, caught_by = detect(BUGS[title], pair)
    assert caught_by is not None
    assert caught_by.rung == rung


def test_a_bug_that_nothing_catches_is_shown_as_such(pair, monkeypatch):
    monkeypatch.setattr(ladder, "RUNGS", (inputs.loaded_weights,))
    missed = detect(BUGS["sum for mean"], pair)
    assert missed.caught_by is None
    assert not Detections([missed], []).holds
    known = replace(missed.bug, missed_because="no rung sees it")
    assert Detections([missed._replace(bug=known)], []).holds
    assert not Detections([Detection(known, Measurement(5, "", "float64", 1, 0))], []).holds
    assert len(detection_matrix(Detections([missed], [])).rows) == 1


def test_the_ladder_goes_on_from_a_runs_last_checkpoint_and_refuses_one_of_other_networks(pair, tmp_path):
    config = pair.config
    header = checkpoint_header(config, framework="torch", epoch=1)
    save_checkpoint(tmp_path, pair.initial_weights("float32"), {}, step=64, header=header)
    options = ParityOptions(config=config, quick=True, width=WIDTH, checkpoint=tmp_path)
    found = setup.make_pair(options, num_threads=1)
    assert [state.name for state in states.late_states(found, "float32")][-1] == "the checkpoint"
    with pytest.raises(UserError, match=r"--checkpoint .*generator\.layers\.0\.weight has shape"):
        setup.make_pair(replace(options, width=2 * WIDTH), num_threads=1)


def test_a_rung_that_cannot_be_measured_does_not_hold(pair, monkeypatch):
    def broken(pair: Pair, precision: str) -> Any:
        raise ValueError("shapes do not fit\nat all")

    monkeypatch.setattr(ladder, "RUNGS", (inputs.loaded_weights, broken))
    failed = [measurement for measurement in ladder.climb(pair) if not measurement.holds]
    assert [(each.rung, each.precision, each.where) for each in failed] == [
        (1, precision, "ValueError: shapes do not fit") for precision in ("float64", "float32")
    ]
    *held, last = ladder.climb(pair, stop_at_first_failure=True)
    assert held
    assert all(each.holds for each in held)
    assert not last.holds


def test_the_first_divergence_is_the_first_result_that_is_much_further_off_than_its_input():
    layers = {"layers.0": 1e-16, "layers.1": 5e-16, "layers.2": 3e-3, "layers.3": 0.5, "layers.4": 0.1}
    found = first_divergence(sequence(layers), tolerance=1e-12)
    assert str(found) == "layers.2 (3.0e-03, its input 5.0e-16)"
    assert first_divergence(sequence({"a": 1e-3, "b": 9e-3}, input_error=1e-3), tolerance=1e-12) is None
    tensors = {"loss": 1e-3, "moment": 1e-16, "weight": 5e-3}
    assert first_divergence(accumulation(tensors), tolerance=1e-2) is None
    assert [link.input_error for link in accumulation(tensors)] == [0, 1e-3, 1e-3]


def test_a_failing_step_names_the_first_tensor_of_the_step_that_goes_wrong(pair):
    with BUGS["both networks at the generator's learning rate"].planted():
        config = replace(pair.config, learning_rate_discriminator=1e-4)
        bugged = replace(pair, config=config, _trainers={}, _trajectories={}, _results={})
        failed = failures(training.steps, bugged)
    tensors = next(measurement for measurement in failed if measurement.name.endswith("tensors"))
    assert tensors.where.startswith("discriminator.layers.0.weight (")


def test_a_nan_a_missing_tensor_and_another_shape_are_never_agreement():
    ones, nans = np.ones(3), np.full(3, np.nan)
    assert relative_l2(nans, nans) == max_relative(ones, nans) == relative_l2(nans, ones) == np.inf
    assert errors({"a": ones}, {"a": ones, "b": ones}) == {"a": 0, "b": np.inf}
    assert errors({"a": ones[:2]}, {"a": ones}) == {"a": np.inf}
    assert not Measurement(3, "", "float64", float("nan"), 1.0).holds
    assert relative_l2(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == pytest.approx(4 / 3)


def test_rounding_excuses_no_nan_and_no_more_than_it_may(pair):
    ones, nans = {"a": np.ones(3)}, {"a": np.full(3, np.nan)}
    for measured, disturbed, held in (
        (1e-3, [{"a": np.ones(3) + 1e-3}], True),
        (1e-3, [nans], False),
        (np.inf, [nans], False),
    ):
        found = rounding_noise.against_noise(
            8,
            "step 1",
            "float32",
            measured={"a": measured},
            tolerance=1e-4,
            reference=ones,
            disturbed=lambda d=disturbed: iter(d),
        )
        assert found.holds is held
    strict = rounding_noise.against_noise(
        8, "", "float64", measured={"a": 1e-3}, tolerance=1e-4, reference=ones, disturbed=None
    )
    assert not strict.holds
    noisy = [{"a": 1.1 * ones["a"]}]
    for at_most, held in ((2e-3, True), (5e-4, False)):
        found = rounding_noise.against_noise(
            8,
            "step 1",
            "float64",
            measured={"a": 1e-3},
            tolerance=1e-4,
            reference=ones,
            disturbed=lambda: iter(noisy),
            at_most=at_most,
        )
        assert found.holds is held
    assert not Measurement(8, "", "float32", np.inf, np.inf).holds


def test_a_disturbed_torch_runs_on_other_threads_for_its_steps_alone(pair, monkeypatch):
    num_threads, seen = torch.get_num_threads(), []
    real = TorchProbe.create_trainer

    def watched(probe: TorchProbe, *arguments: Any) -> Any:
        trainer = real(probe, *arguments)
        step = trainer.train_chunk
        trainer.train_chunk = lambda *data: (seen.append(torch.get_num_threads()), step(*data))[1]
        return trainer

    monkeypatch.setattr(TorchProbe, "create_trainer", watched)
    disturbed = next(rounding_noise.disturbed_trajectories(pair, pair.torch, "float64"))
    distance = trajectories.distance_of(disturbed.at(1).weights, pair.trajectory(pair.torch, "float64").at(1).weights)
    assert seen == [1 if num_threads > 1 else 2, num_threads]
    assert distance < 1e-12
    assert torch.get_num_threads() == num_threads


def test_a_certificate_holds_only_if_every_measurement_does_and_depends_on_the_config(clean_pair):
    pair = clean_pair
    good, bad = (Measurement(3, "Conv", "float64", value, 1e-12, "weight") for value in (1e-15, np.inf))
    found = certificate(pair, [good], quick=True, num_threads=2)
    assert found["holds"]
    assert found["first_steps"]["metrics"].keys() == {"torch", "jax"}
    assert not certificate(pair, [], quick=True, num_threads=2)["holds"]
    failed = certificate(pair, [good, bad], quick=True, num_threads=2)
    assert not failed["holds"]
    assert failed["first_steps"] is None
    assert json.loads(json.dumps(failed, allow_nan=False))["rungs"][1]["measured"] is None
    changes = {"num_threads": 1, "source_hashes": {}, "config": {}, "packages": {}, "devices": {}, "data_sha256": "0"}
    changes |= {"python": "3.12.1", "package_hashes": {}, "cpu_model": "", "cpu_flags": [], "environment_variables": {}}
    hashes = {identity_hash({**found, name: value}) for name, value in changes.items()}
    assert len({*hashes, found["identity_hash"]}) == len(changes) + 1
    assert "FAILS at weight" in line(bad)
    assert "1e+03x" in line(good)


def test_the_command_exits_with_1_when_a_rung_fails_and_writes_the_certificate(clean_pair, monkeypatch, tmp_path):
    monkeypatch.setattr("comparison.commands.parity.make_pair", lambda options, *, num_threads, arm: clean_pair)
    for measured, code in ((1e-15, 0), (1e-3, 1)):
        found = [Measurement(8, "step 1", "float64", measured, 1e-12)]
        monkeypatch.setattr("comparison.commands.parity.climb", lambda *_, found=found: found)
        path = tmp_path / "parity.json"
        assert run_command(["parity", "--preset", "smoke", "--quick", f"--json={path}"]) == code
        assert json.loads(path.read_text())["holds"] is (code == 0)


def test_the_command_exits_with_1_when_a_planted_bug_is_missed(monkeypatch, tmp_path):
    caught = Measurement(3, "Conv", "float64", np.inf, 1e-12, "weight")
    for caught_by, code in ((caught, 0), (None, 1)):
        found = [[], Detection(PLANTED_BUGS[0], caught_by)]
        monkeypatch.setattr("comparison.commands.parity.detect_all", lambda options, found=found: iter(found))
        path = tmp_path / "bugs.json"
        assert run_command(["parity", "--planted-bugs", f"--json={path}"]) == code
        assert json.loads(path.read_text())["holds"] is (code == 0)


def test_without_batch_norm_there_are_no_statistics_to_differ_and_the_rung_says_so(digits):
    config = small_config("seed001-no-batchnorm")
    pair = Pair(
        TorchProbe(), JaxProbe(), config, small_architecture(config), np.pad(digits, ((0, 0), (2, 2), (2, 2))), 10
    )
    (measurement,) = training.running_statistics(pair, "float64")
    assert measurement.holds
    assert measurement.name == "there is no BatchNorm"


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (1.001, False)])
def test_finite_differences_notice_a_wrong_gradient_of_any_tensor(factor, holds, clean_pair, monkeypatch):
    """Also of those whose slopes are small: the tolerance for what the loss's rounding hides must hide nothing else."""
    gradients = TorchProbe.gradients
    smallest = min(
        gradients(TorchProbe(), clean_pair.trainer(clean_pair.torch, "float64"), *first_batch(clean_pair)).items(),
        key=lambda item: float(np.linalg.norm(item[1])),
    )[0]

    def wrong(self: TorchProbe, *arguments: Any) -> Any:
        found = gradients(self, *arguments)
        return {name: factor * array if name == smallest else array for name, array in found.items()}

    monkeypatch.setattr(TorchProbe, "gradients", wrong)
    unmeasured = replace(clean_pair, _results={})
    measured = [
        m for m in pieces.gradients(unmeasured, "float64") if m.name == "torch against central finite differences"
    ]
    assert [m.holds for m in measured] == [holds]


@pytest.mark.parametrize(("hidden_by_rounding", "holds"), [(False, True), (True, False)])
def test_a_kink_within_the_usual_steps_is_seen_past_by_the_shortest_one(
    hidden_by_rounding, holds, clean_pair, monkeypatch
):
    """As in seed002: every usual step is 1e-3 off; the shortest counts only where rounding does not hide the slope."""
    finite_differences = pieces.finite_differences

    def across_a_kink(pair: Pair, gradients: Any, step: float) -> list[slopes.Slope]:
        if step != pieces.SHORTEST_FINITE_DIFFERENCE_STEP:
            return [
                slope._replace(difference=1.001 * slope.difference, smallest=0.0)
                for slope in finite_differences(pair, gradients, 1e-8)
            ]
        return [
            slopes.Slope(slope.name, slope.direction, exact, 2 * abs(exact) if hidden_by_rounding else 0.0)
            for slope in finite_differences(pair, gradients, step)
            for exact in [float(np.sum(gradients[slope.name] * slope.direction))]
        ]

    monkeypatch.setattr(pieces, "finite_differences", across_a_kink)
    measured = [m for m in pieces.gradients(clean_pair, "float64") if "finite differences" in m.name]
    assert len(measured) == 2
    assert [m.holds for m in measured] == [holds] * 2


def first_batch(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    images, latents = pair.data(0, 1)
    return images[0], latents[0, 0]
