"""What the tracer must take: modules used twice, on one side only, weights of one's own port, sizes, scans."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

from comparison.port.arrays import likeness
from comparison.port.compare import compare
from comparison.port.report import module_rows, sentences
from tests.comparison.port.pairs import drawn


class TorchTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.extra = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.linear(x))) + 0 * self.extra(x)


class FlaxTwice(nnx.Module):
    def __init__(self) -> None:
        self.linear = nnx.Linear(4, 4, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.linear(nnx.relu(self.linear(x)))


def test_a_module_used_twice_has_two_rows_and_one_on_one_side_only_is_said():
    result = compare(TorchTwice(), FlaxTwice(), drawn(3, 4))
    assert result.first is None
    assert [(row["torch"], row["call"]) for row in module_rows(result)] == [("linear", 0), ("linear", 1), ("", 0)]
    assert "Only in PyTorch, and not compared: `extra`." in sentences(result)


def test_a_linear_layer_behind_and_one_before_an_image_get_flaxs_order():
    torch_module = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 40), nn.Unflatten(1, (10, 2, 2)), nn.Conv2d(10, 2, 1)
    )

    class Flax(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.first, self.last = nnx.Conv(2, 3, (3, 3), rngs=rngs), nnx.Conv(10, 2, (1, 1), rngs=rngs)
            self.middle = nnx.Linear(48, 40, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.last(self.middle(self.first(x).reshape(len(x), -1)).reshape(-1, 2, 2, 10))

    result = compare(torch_module, Flax(), drawn(3, 2, 4, 4))
    assert result.first is None, sentences(result)
    assert (result.pairing.pairs["2"].rows, result.pairing.pairs["2"].columns) == ((3, 4, 4), (10, 2, 2))


def test_a_kernel_that_a_person_ported_wrongly_is_named_before_any_layer():
    torch_module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    flax_module: Any = nnx.Sequential(*(nnx.Linear(4, 4, rngs=nnx.Rngs(0)) for _ in range(2)))
    for layer, source in zip(flax_module.layers, torch_module, strict=True):
        layer.kernel.set_value(jnp.asarray(source.weight.detach().numpy().T))  # pyright: ignore
        layer.bias.set_value(jnp.asarray(source.bias.detach().numpy()))  # pyright: ignore
    assert compare(torch_module, flax_module, drawn(3, 4)).first is None
    flax_module.layers[1].kernel.set_value(flax_module.layers[1].kernel[...].T)
    first = compare(torch_module, flax_module, drawn(3, 4)).first
    assert first is not None
    assert (first.stage, first.torch, first.flax) == ("weights", "1", "layers.1.kernel")
    assert "(1, 0)" in (first.likely_cause or "")


def test_a_scan_is_one_with_its_parent_and_its_weights_are_found():
    torch_module = nn.LSTM(5, 6, batch_first=True)

    class Flax(nnx.Module):
        def __init__(self) -> None:
            self.rnn = nnx.RNN(nnx.LSTMCell(5, 6, rngs=nnx.Rngs(0)))

        def __call__(self, x: jax.Array) -> Any:
            return self.rnn(x)

    class Torch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch_module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    result = compare(Torch(), Flax(), drawn(3, 7, 5))
    assert result.first is None, sentences(result)
    assert result.lost == []


def test_neither_module_nor_the_switch_for_64_bits_is_changed():
    torch_module, flax_module = nn.Linear(3, 2), nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    before = torch_module.weight.detach().clone(), np.asarray(flax_module.kernel[...])
    compare(torch_module, flax_module, drawn(2, 3))
    assert torch.equal(torch_module.weight, before[0])
    assert np.array_equal(flax_module.kernel[...], before[1])
    assert not jax.config.read("jax_enable_x64")
    assert torch.backends.mha.get_fastpath_enabled()
    assert not hasattr(flax_module, "_traced_path")


def test_layers_of_two_sizes_are_named_with_both_shapes_and_not_refused():
    torch_module, flax_module = nn.Sequential(nn.Linear(3, 2)), nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
    result = compare(torch_module, flax_module, drawn(5, 3))
    assert result.first is not None
    assert result.first.torch == "0"
    assert "PyTorch's returns (5, 2) and Flax's (5, 4)." in sentences(result)
    assert any("does not fit" in each for each in result.lost)


WANTED = np.random.default_rng(1).standard_normal((4, 3, 3))
LIKENESSES = {
    "its axes are in another order: (0, 2, 1)": WANTED.swapaxes(1, 2),
    "reversed along axis 1 and 2": WANTED[:, ::-1, ::-1],
    "the same along axis 0 in another order": WANTED[[2, 0, 3, 1]],
    "PyTorch's is 0.5 times Flax's": 2 * WANTED,
    "PyTorch's is 0.5 times Flax's plus 3": 2 * (WANTED - 3),
    "one number per channel": WANTED + np.array([1, 2, 4]),
}


@pytest.mark.parametrize("words", LIKENESSES)
def test_what_makes_one_array_of_the_other_is_said(words):
    assert words in (likeness(LIKENESSES[words], WANTED, 1e-12) or "nothing")


def test_of_two_arrays_that_have_nothing_in_common_nothing_is_said():
    assert likeness(WANTED**2, WANTED, 1e-12) is None


def test_gradients_of_a_module_that_returns_a_number_are_compared():
    class Torch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.linear(x).mean(), self.linear(x)

    class Flax(nnx.Module):
        def __init__(self) -> None:
            self.linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

        def __call__(self, x: jax.Array) -> Any:
            return self.linear(x).mean(), self.linear(x)

    result = compare(Torch(), Flax(), drawn(4, 3))
    assert result.first is None
    assert [check.flax for check in result.gradients["float64"]] == ["linear.kernel", "linear.bias"]
