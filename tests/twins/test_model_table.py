"""The table of the default network in each twin's model.py is the network that is built."""

import math
import re
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from flax import nnx

import jax_impl.layers
import jax_impl.model
import torch_impl.layers
import torch_impl.model
from common.networks.build import build_architecture
from common.networks.layers import parameter_shapes
from common.networks.presets import PRESETS

CONFIG = PRESETS["dcgan32"].recipe
ARCHITECTURE = build_architecture(CONFIG)
BATCH_SIZE = 2
ROW = re.compile(r"^ {8}(\w+) +\(N, ([\d, ]+)\)(?: +([\d,]+))?$", re.MULTILINE)
Row = tuple[str, tuple[int, ...], int]


def shown(module: ModuleType) -> list[Row]:
    assert module.__doc__ is not None
    return [
        (name, tuple(map(int, shape.split(","))), int(count.replace(",", "") or 0))
        for name, shape, count in ROW.findall(module.__doc__)
    ]


def rows(shapes: list[tuple[int, ...]], inputs: str, network: str) -> list[Row]:
    specs = getattr(ARCHITECTURE, network)
    counts = [sum(math.prod(shape) for _, shape in parameter_shapes(spec)) for spec in specs]
    names = [inputs, *(type(spec).__name__ for spec in specs)]
    return [(name, shape[1:], count) for name, shape, count in zip(names, shapes, [0, *counts], strict=True)]


def shapes_of(layers: Any, values: Any) -> list[tuple[int, ...]]:
    outputs = [values]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    return [tuple(output.shape) for output in outputs]


@pytest.mark.parametrize("network", ["Generator", "Discriminator"])
def test_pytorch_s_table_is_the_network_that_is_built(network):
    size = (CONFIG.latent_dim, 1, 1) if network == "Generator" else (1, 32, 32)
    module = getattr(torch_impl.model, network)(ARCHITECTURE, torch_impl.layers.select(CONFIG))
    expected = rows(shapes_of(module, torch.zeros(BATCH_SIZE, *size)), *names(network))
    assert part(shown(torch_impl.model), network) == expected


@pytest.mark.parametrize("network", ["Generator", "Discriminator"])
def test_jax_s_table_is_the_network_that_is_built(network):
    size = (1, 1, CONFIG.latent_dim) if network == "Generator" else (32, 32, 1)
    form = jax_impl.layers.select(CONFIG, "cpu")
    module = getattr(jax_impl.model, network)(ARCHITECTURE, form, rngs=nnx.Rngs(0))
    module.eval()  # so that tracing leaves no statistics behind
    shapes: list[tuple[int, ...]] = []
    jax.eval_shape(lambda values: shapes.extend(shapes_of(module.layers, values)), jnp.zeros((BATCH_SIZE, *size)))
    assert part(shown(jax_impl.model), network) == rows(shapes, *names(network))


def names(network: str) -> tuple[str, str]:
    return ("latents" if network == "Generator" else "images"), network.lower()


def part(table: list[Row], network: str) -> list[Row]:
    boundary = next(index for index, row in enumerate(table) if row[0] == "images")
    return table[:boundary] if network == "Generator" else table[boundary:]
