"""Rungs 3 to 7: layers, whole networks, losses, gradients and the optimizer, each compared alone."""

from collections.abc import Iterator

import numpy as np

from common import architectures as specs
from common.contract import Weights
from common.randomness import stream
from comparison.parity.measure import errors, max_relative
from comparison.parity.pair import Measurement, Pair

NUM_DRAWN_SHAPES = 6
LAYER_TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
GRADIENT_TOLERANCES = {"float64": 1e-11, "float32": 1e-4}
ADAM_TOLERANCES = {"float64": 1e-10, "float32": 1e-3}  # times the learning rate
NUM_ADAM_STEPS = 200


def layers(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Each layer kind alone over drawn shapes, odd and even, with exact zeros among the inputs."""
    draw = stream(pair.config.seed, "parity/layers")
    for kind in (specs.Conv, specs.ConvTranspose, specs.BatchNorm, specs.LeakyReLU, specs.ReLU, specs.Tanh):
        worst, where = 0.0, ""
        for index in range(NUM_DRAWN_SHAPES):
            spec, inputs, cotangent, weights = _drawn_layer(kind, index, draw)
            for train in (True, False) if kind is specs.BatchNorm else (True,):
                arguments = (pair.at(precision), spec, weights, inputs, cotangent)
                torch_result, jax_result = (probe.layer(*arguments, train=train) for probe in pair.probes)
                found = {
                    "output": max_relative(jax_result.outputs, torch_result.outputs),
                    "input gradient": max_relative(jax_result.input_gradient, torch_result.input_gradient),
                    **errors(jax_result.weight_gradients, torch_result.weight_gradients, max_relative),
                    **errors(jax_result.buffers, torch_result.buffers, max_relative),
                }
                name = max(found, key=found.__getitem__)
                if not found[name] <= worst:
                    worst, where = found[name], f"{name} of {spec} on {inputs.shape}, train={train}"
        yield Measurement(3, kind.__name__, precision, worst, LAYER_TOLERANCES[precision], where)


def _drawn_layer(
    kind: type, index: int, draw: np.random.Generator
) -> tuple[specs.LayerSpec, np.ndarray, np.ndarray, Weights]:
    batch, channels, size = int(draw.integers(2, 5)), int(draw.integers(1, 10)), int(draw.integers(3, 12))
    weights: Weights = {}
    spec: specs.LayerSpec
    if kind in (specs.Conv, specs.ConvTranspose):
        out_channels = int(draw.integers(1, 10))
        # The shape the networks are made of first, then others.
        kernel, stride, padding = (4, 2, 1) if index < NUM_DRAWN_SHAPES // 2 else map(int, draw.integers(1, 4, 3))
        kernel = max(kernel, padding + 1)
        spec = kind(channels, out_channels, kernel, stride, padding, bias=bool(index % 2))
        shape = (out_channels, channels) if kind is specs.Conv else (channels, out_channels)
        weights["weight"] = draw.standard_normal((*shape, kernel, kernel))
        if spec.bias:
            weights["bias"] = draw.standard_normal(out_channels)
        size = max(size, kernel)
        transposed = kind is specs.ConvTranspose
        out_size = (
            (size - 1) * stride - 2 * padding + kernel if transposed else (size + 2 * padding - kernel) // stride + 1
        )
        out_shape = (batch, out_channels, out_size, out_size)
    else:
        spec = specs.BatchNorm(channels) if kind is specs.BatchNorm else kind()
        if kind is specs.BatchNorm:
            weights = {name: draw.standard_normal(channels) for name in ("weight", "bias", "running_mean")}
            weights["running_var"] = draw.uniform(0.5, 2, channels)
        out_shape = (batch, channels, size, size)
    inputs = draw.standard_normal((batch, channels, size, size))
    if kind not in (specs.Conv, specs.ConvTranspose):
        inputs[:, :, 0] = 0  # where LeakyReLU's and ReLU's derivatives are a convention
    return spec, inputs, draw.standard_normal(out_shape), weights


def forward(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Every intermediate tensor of both networks in train and eval mode, in execution order."""
    trainers = [probe.create_trainer(pair.at(precision), pair.architecture) for probe in pair.probes]
    images, latents = pair.data(0, 1)
    for trainer in trainers:
        trainer.load_weights(pair.initial_weights(precision))
    real = images[0] / 127.5 - 1
    real = real[:, None] if real.ndim == 3 else real.transpose(0, 3, 1, 2)
    for network, inputs in (("generator", latents[0, 0][:, :, None, None]), ("discriminator", real)):
        for train in (True, False):
            torch_outputs, jax_outputs = (
                probe.activations(trainer, network, inputs.astype(np.float64), train=train)
                for probe, trainer in zip(pair.probes, trainers, strict=True)
            )
            found = [max_relative(b, a) for a, b in zip(torch_outputs, jax_outputs, strict=True)]
            index = int(np.argmax(found))
            mode = "train" if train else "eval"
            where = f"{network}.layers.{index}"
            yield Measurement(
                4,
                f"{network}, {mode} mode, {len(found)} layers",
                precision,
                found[index],
                LAYER_TOLERANCES[precision],
                where,
            )


def losses(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Both losses and their gradients for logits up to +-120."""
    logits = np.concatenate([np.linspace(-120, 120, 97), [0.0, 1e-6, -1e-6]])
    reference, measured = (probe.losses(pair.at(precision), logits, logits[::-1].copy()) for probe in pair.probes)
    for name, error in errors(measured, reference, max_relative).items():
        yield Measurement(5, name, precision, error, LAYER_TOLERANCES[precision])


def gradients(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Gradients of every parameter, D's and G's."""
    images, latents = pair.data(0, 1)
    found = []
    for probe in pair.probes:
        trainer = probe.create_trainer(pair.at(precision), pair.architecture)
        trainer.load_weights(pair.initial_weights(precision))
        found.append(probe.gradients(trainer, images[0], latents[0, 0]))
    torch_gradients, jax_gradients = found
    compared = errors(jax_gradients, torch_gradients, max_relative)
    for network in ("discriminator", "generator"):
        own = {name: error for name, error in compared.items() if name.startswith(network)}
        where = max(own, key=own.__getitem__)
        yield Measurement(
            6, f"{network}, {len(own)} tensors", precision, own[where], GRADIENT_TOLERANCES[precision], where
        )


def optimizer(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Adam on given gradients of scales 1e-1 to 1e-8, in units of the learning rate."""
    draw = stream(pair.config.seed, "parity/optimizer")
    scales = 10.0 ** -np.arange(1, 9)
    given = draw.standard_normal((NUM_ADAM_STEPS, 8, len(scales))) * scales
    start = draw.standard_normal(given[0].size) * 0.02
    config = pair.at(precision)
    torch_path, jax_path = (
        probe.adam(config, start, given.reshape(NUM_ADAM_STEPS, -1)).astype(np.float64) for probe in pair.probes
    )
    difference = np.abs(torch_path - jax_path).max() / config.learning_rate_generator
    yield Measurement(7, f"{NUM_ADAM_STEPS} steps", precision, float(difference), ADAM_TOLERANCES[precision])
