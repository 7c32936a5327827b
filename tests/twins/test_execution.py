"""A chunk in one program of the device leaves what a call a step leaves: all that a CPU can show of either form."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import jax_impl.device
import torch_impl.device
from common.data.initial_weights import initial_weights
from common.errors import UserError
from comparison.parity.divergence import relative_l2
from jax_impl.tuned.steps import FlatChunks
from tests.trainers import FRAMEWORKS, build, chunk_of, small_architecture, small_config, steps_of
from torch_impl.tuned.replay import ReplayedSteps

SMALLEST = "dcgan28"
CUTS = ((0, 3), (3, 4), (4, 8))  # a first chunk, a shorter one as at an epoch's end, a longer one


def trained(trainer: Any, cuts: tuple[tuple[int, int], ...] = CUTS) -> dict[str, np.ndarray]:
    """Weights, average and all metrics after these steps."""
    chunk = chunk_of(trainer.config, num_steps=8)
    metrics = [np.stack(trainer.train_chunk(*steps_of(chunk, *cut))) for cut in cuts]
    average = {f"average.{name}": array for name, array in trainer.export_average().items()}
    return trainer.export_weights() | average | {"metrics": np.concatenate(metrics, axis=1)}


class HostQuestions(TorchDispatchMode):
    """Operations for which a GPU would have to be waited for, or be sent a number: a capture may have none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        waits = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*func.tags}
        if waits or func is torch.ops.aten.lift_fresh.default:  # a tensor of a number of Python's
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_that_is_captured_asks_the_host_for_nothing(precision):
    trainer = build("torch", small_config(SMALLEST, precision=precision), execution="chunk")
    trainer.train_chunk(*chunk_of(trainer.config, num_steps=2))
    trainer._run_steps._position.zero_()
    with trainer._autocast(), HostQuestions() as host:
        trainer._run_steps._body()
    assert host.found == []


def test_what_a_capture_may_not_have_would_be_seen():
    numbers = torch.ones(2)
    with HostQuestions() as host:
        numbers.sum().item()
        numbers[numbers > 0]
        torch.tensor(1.0)
    assert [name.split(".")[1] for name in host.found] == ["_local_scalar_dense", "index", "lift_fresh"]


@pytest.mark.parametrize("updates", [1, 2])
def test_replayed_steps_leave_the_bits_of_eager_ones(updates):
    config = small_config(SMALLEST, generator_updates=updates)
    found = [trained(build("torch", config, execution=execution)) for execution in ("step", "chunk")]
    assert found[0]["metrics"].shape == (4, 8)
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name)


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_replayed_steps_do_so_in_other_precisions(precision):
    config = small_config(SMALLEST, precision=precision)
    found = [trained(build("torch", config, execution=execution), CUTS[:1]) for execution in ("step", "chunk")]
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name)


def test_a_scan_leaves_in_float64_what_single_steps_leave():
    config = small_config(SMALLEST, precision="float64")
    found = [trained(build("jax", config, execution=execution)) for execution in ("step", "chunk")]
    for name, array in found[0].items():
        assert relative_l2(found[1][name], array) < 1e-11, name


def test_the_longest_chunk_alone_is_one_program_in_jax(monkeypatch):
    trainer = build("jax", small_config(SMALLEST), execution="chunk")
    steps = trainer._run_steps
    assert isinstance(steps, FlatChunks)
    called = []
    for name in ("compiled", "compiled_chunk"):
        run = getattr(steps, name)
        monkeypatch.setattr(steps, name, lambda *data, name=name, run=run: (called.append(name), run(*data))[1])
    trained(trainer)
    assert called == ["compiled_chunk", "compiled", "compiled_chunk"]


def test_the_idiomatic_variant_is_a_call_a_step():
    for framework in FRAMEWORKS:
        trainer = build(framework, small_config(SMALLEST, variant="idiomatic"), execution="chunk")
        assert not isinstance(trainer._run_steps, ReplayedSteps | FlatChunks)


@pytest.mark.parametrize("execution", ["step", "chunk"])
def test_loading_leaves_every_tensor_of_torch_where_it_was(execution):
    """A captured graph goes on with the addresses that it saw."""
    config = small_config(SMALLEST)
    trainer = build("torch", config, execution=execution)
    addresses = [tensor.data_ptr() for tensor in trainer._changing_tensors()]
    trained(trainer)
    trainer.load_weights(trainer.export_weights(), trainer.export_average())
    trainer.load_weights(initial_weights(config, small_architecture(config)))
    assert [tensor.data_ptr() for tensor in trainer._changing_tensors()] == addresses


def test_a_step_changes_no_tensor_but_those_that_capturing_puts_back():
    trainer = build("torch", small_config(SMALLEST))
    saved = [tensor.clone() for tensor in trainer._changing_tensors()]
    before = trainer.export_weights() | {f"average.{n}": array for n, array in trainer.export_average().items()}
    trained(trainer)
    for tensor, array in zip(trainer._changing_tensors(), saved, strict=True):
        tensor.detach().copy_(array)
    after = trainer.export_weights() | {f"average.{n}": array for n, array in trainer.export_average().items()}
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)


def test_training_loading_and_training_on_is_training_twice(monkeypatch):
    config = small_config(SMALLEST)
    trainer, start = build("torch", config, execution="chunk"), initial_weights(config, small_architecture(config))
    first = trained(trainer)
    trainer.load_weights(start)
    for name, array in trained(trainer).items():
        np.testing.assert_array_equal(array, first[name], err_msg=name)


@pytest.mark.parametrize(("kind", "chosen"), [("cpu", "step"), ("cuda", "chunk"), ("mps", "step"), ("xpu", "step")])
def test_torch_takes_chunks_where_there_are_cuda_graphs(kind, chosen):
    device = torch.device(kind)
    assert torch_impl.device.choose_execution("auto", device) == chosen
    assert torch_impl.device.choose_execution("step", device) == "step"
    if chosen == "step":
        with pytest.raises(UserError, match=f"--execution chunk: .*needs CUDA, not {kind}"):
            torch_impl.device.choose_execution("chunk", device)


@pytest.mark.parametrize(("platform", "chosen"), [("cpu", "step"), ("gpu", "chunk"), ("tpu", "chunk")])
def test_jax_takes_chunks_on_accelerators(platform, chosen):
    device = SimpleNamespace(platform=platform)
    assert jax_impl.device.choose_execution("auto", device) == chosen
    assert jax_impl.device.choose_execution("chunk", device) == "chunk"
