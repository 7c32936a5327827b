"""Four models that were not made for the tracer: clean they agree, and a fault is named where it is."""

import pytest
from flax import nnx

from comparison.port.compare import compare
from comparison.port.report import as_json, sentences
from tests.comparison.port.pairs import CASES, FlaxResNet, TorchResNet, drawn
from tests.trainers import slowly

FAULTS = [(name, fault) for name, case in CASES.items() for fault in case.faults]


@pytest.mark.parametrize("name", ["residual network", "recurrent cell", *slowly("U-Net", "transformer encoder")])
def test_a_clean_pair_agrees_with_every_weight_paired(name):
    case = CASES[name]
    result = compare(case.torch(), case.flax(), case.inputs())
    assert sentences(result)[0].startswith("They agree"), sentences(result)
    assert result.pairing.unpaired_torch == result.pairing.unpaired_flax == result.lost == []


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_fault_is_named_where_it_is_with_what_mends_it(name, fault):
    case = CASES[name]
    module, cause = case.faults[fault]
    result = compare(case.torch(), case.flax(fault), case.inputs())
    found = as_json(result)["first_divergence"]
    assert found is not None
    assert (found["stage"], found["torch"]) == ("forward", module), sentences(result)
    assert cause in (found["likely_cause"] or ""), sentences(result)


def test_flaxs_own_batchnorm_keeps_the_biased_variance():
    result = compare(TorchResNet(), FlaxResNet(batch_norm=nnx.BatchNorm), drawn(4, 3, 10, 10))
    found = as_json(result)["first_divergence"]
    assert found["torch"] == "bn1"
    assert "biased running variance" in found["likely_cause"]
    assert "it differs in training mode alone" in found["readings"]


def test_in_eval_mode_flaxs_own_batchnorm_agrees():
    torch_module, flax_module = TorchResNet().eval(), FlaxResNet(batch_norm=nnx.BatchNorm)
    flax_module.eval()
    assert compare(torch_module, flax_module, drawn(4, 3, 10, 10)).first is None
