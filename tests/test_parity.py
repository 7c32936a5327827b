"""The ladder passes the code as it is, and each rung fails on a difference of the kind it is there for."""

import json
from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import jax_impl.layers
import jax_impl.losses
import jax_impl.trainer
import torch_impl.trainer
from comparison.parity import inputs, ladder, pieces, training
from comparison.parity.certificate import certificate
from comparison.parity.command import line, parity
from comparison.parity.jax_probe import JaxProbe
from comparison.parity.measure import errors, max_relative, relative_l2
from comparison.parity.pair import Measurement, Pair
from comparison.parity.torch_probe import TorchProbe
from tests.trainers import small_architecture, small_config

# The fast rungs; `python compare.py parity` climbs them all.
CLEAN_RUNGS = (
    inputs.specification,
    inputs.data_and_noise,
    inputs.loaded_weights,
    pieces.losses,
    pieces.optimizer,
    training.steps,
    training.running_statistics,
    training.samples,
)


@pytest.fixture
def pair(digits) -> Pair:
    config = small_config(train_size=512)
    images = np.pad(digits, ((0, 0), (2, 2), (2, 2)))
    return Pair(TorchProbe(), JaxProbe(), config, small_architecture(config), images, num_steps=10)


def failures(rung: Callable, pair: Pair, precision: str = "float64") -> list[Measurement]:
    return [measurement for measurement in rung(pair, precision) if not measurement.holds]


@pytest.mark.parametrize("rung", CLEAN_RUNGS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_rung_holds_for_the_code_as_it_is(rung, precision, pair):
    assert failures(rung, pair, precision) == []


def test_every_rung_of_the_table_is_climbed_in_order():
    assert len(ladder.RUNGS) == 13
    assert [rung.__name__ for rung in ladder.RUNGS][::6] == ["specification", "gradients", "noise_floor"]


def test_rung_1_fails_when_one_framework_is_fed_the_noise_of_another_step(pair, monkeypatch):
    real = Pair.data_for
    monkeypatch.setattr(Pair, "data_for", lambda self, probe, step: real(self, probe, step + (probe.name == "jax")))
    (failed,) = failures(inputs.data_and_noise, pair, "float32")
    assert failed.where == "step 1, images"


def test_rung_2_fails_when_a_kernel_is_transposed(pair, monkeypatch):
    monkeypatch.setattr("jax_impl.weights.TO_CANONICAL", (3, 2, 1, 0))
    assert failures(inputs.loaded_weights, pair)


def test_rung_3_fails_for_another_derivative_at_zero(pair, monkeypatch):
    monkeypatch.setattr(
        jax_impl.layers.LeakyReLU, "__call__", lambda self, x: jax.nn.leaky_relu(x, self.negative_slope)
    )
    assert [measurement.name for measurement in failures(pieces.layers, pair)] == ["LeakyReLU"]


def test_rungs_3_and_9_fail_for_the_biased_running_variance(pair, monkeypatch):
    monkeypatch.setattr(jax_impl.layers.BatchNorm, "__call__", nnx.BatchNorm.__call__)
    assert [measurement.name for measurement in failures(pieces.layers, pair)] == ["BatchNorm"]
    failed = failures(training.running_statistics, pair)
    assert [measurement.name for measurement in failed] == ["after step 1", "after step 10", "after step 50"]
    assert all(measurement.where.endswith("running_var") for measurement in failed)


def test_rung_5_fails_for_a_sum_instead_of_a_mean(pair, monkeypatch):
    real = jax_impl.losses.binary_cross_entropy
    monkeypatch.setattr(
        jax_impl.losses, "binary_cross_entropy", lambda logits, target: real(logits, target) * len(logits)
    )
    assert len(failures(pieces.losses, pair)) == 5


@pytest.mark.parametrize("bug", [{"eps": 1e-7}, {"eps": 0.0, "eps_root": 1e-8}, {"b1": 0.9}, {"b2": 0.99}])
def test_rung_7_fails_for_each_way_to_get_adam_wrong(bug, pair, monkeypatch):
    def create_optimizer(network, config, learning_rate):
        settings = {"b1": config.beta1, "b2": config.beta2, **bug}
        return nnx.Optimizer(network, optax.adam(learning_rate, **settings), wrt=nnx.Param)

    monkeypatch.setattr(jax_impl.trainer, "create_optimizer", create_optimizer)
    assert failures(pieces.optimizer, pair)


def test_rung_8_fails_when_torch_trains_one_percent_faster(pair, monkeypatch):
    real = torch_impl.trainer.create_optimizer
    monkeypatch.setattr(
        torch_impl.trainer, "create_optimizer", lambda network, config, rate: real(network, config, 1.01 * rate)
    )
    assert len(failures(training.steps, pair)) == 2


def test_a_nan_a_missing_tensor_and_another_shape_are_never_agreement():
    ones, nans = np.ones(3), np.full(3, np.nan)
    assert relative_l2(nans, nans) == max_relative(ones, nans) == relative_l2(nans, ones) == np.inf
    assert errors({"a": ones}, {"a": ones, "b": ones}) == {"a": 0, "b": np.inf}
    assert errors({"a": ones[:2]}, {"a": ones}) == {"a": np.inf}
    assert not Measurement(3, "", "float64", float("nan"), 1.0).holds
    assert relative_l2(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == pytest.approx(4 / 3)


def test_a_certificate_holds_only_if_every_measurement_does_and_depends_on_the_config(pair):
    good, bad = (Measurement(3, "Conv", "float64", value, 1e-12, "weight") for value in (1e-15, np.inf))
    assert certificate(pair, [good], quick=True, num_threads=2)["holds"]
    failed = certificate(pair, [good, bad], quick=True, num_threads=2)
    assert not failed["holds"]
    assert json.loads(json.dumps(failed, allow_nan=False))["rungs"][1]["measured"] is None
    other = replace(pair, config=replace(pair.config, seed=1))
    hashes = {certificate(each, [good], quick=True, num_threads=2)["config_hash"] for each in (pair, other)}
    assert len(hashes) == 2
    assert "FAILS at weight" in line(bad)
    assert "1e+03x" in line(good)


def test_the_command_exits_with_1_when_a_rung_fails_and_writes_the_certificate(pair, monkeypatch, tmp_path):
    monkeypatch.setattr("comparison.parity.command.make_pair", lambda options: pair)
    for measured, code in ((1e-15, 0), (1e-3, 1)):
        found = [Measurement(8, "step 1", "float64", measured, 1e-12)]
        monkeypatch.setattr("comparison.parity.command.climb", lambda pair, found=found: found)
        path = tmp_path / "parity.json"
        assert parity(["--preset", "smoke", f"--json={path}"]) == code
        assert json.loads(path.read_text())["holds"] is (code == 0)
