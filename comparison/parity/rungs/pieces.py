"""Rungs 3 to 7: layers, whole networks, losses, gradients and the optimizer, each compared alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from common.contract import Weights
from common.data.randomness import stream
from common.networks import layers as specs
from comparison.parity.divergence import errors, max_relative
from comparison.parity.pair import Measurement, Pair
from comparison.parity.probes.probe import LayerCase, Probe
from comparison.parity.rounding_noise import activations, against_noise, disturbed_activations, disturbed_gradients
from comparison.parity.rungs.slopes import FINITE_DIFFERENCE_TOLERANCE, finite_differences, slope_errors

# How many shapes each layer kind is tried on; every one costs JAX a compilation.
NUM_SHAPES = {
    specs.Conv: 4,
    specs.ConvTranspose: 4,
    specs.Linear: 2,
    specs.BatchNorm: 2,
    specs.LeakyReLU: 1,
    specs.ReLU: 1,
    specs.Tanh: 1,
}
LAYER_TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
GRADIENT_TOLERANCES = {"float64": 1e-11, "float32": 1e-4}
# A long step crosses kinks of ReLU (1e-4 off at 1e-6, or at 1e-8 where activations are as small as seed004-mlp's),
# rounding of the loss blurs a short one (1e-7 off at 1e-8): a right gradient agrees at one, a wrong one at none.
FINITE_DIFFERENCE_STEPS = (1e-7, 1e-8, 1e-9)
# Of a million activations one may lie within 1e-9 of its kink and still weigh 2e-4 of a slope (seed002). A step as
# short as this crosses none, and is taken for slopes that rounding does not hide from it.
SHORTEST_FINITE_DIFFERENCE_STEP = 1e-10
# No two mirror each other: smoothing on the wrong side must show.
SMOOTHED_TARGETS = {"real_target": 0.9, "fake_target": 0.2, "generator_target": 0.8}
ADAM_TOLERANCES = {"float64": 1e-10, "float32": 1e-3}  # times the learning rate
NUM_ADAM_STEPS = 200
# From 0, a parameter's own rounding does not hide the step's: optax's float32 bias correction is 6e-6 off.
STEPS_FROM_ZERO_TOLERANCES, NUM_STEPS_FROM_ZERO = {"float64": 1e-10, "float32": 2e-6}, 3


def layers(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Each layer kind alone over drawn shapes, odd and even, with exact zeros among the inputs."""
    draw = stream(pair.config.seed, "parity/layers")
    for kind, num_shapes in NUM_SHAPES.items():
        worst, where = 0.0, ""
        for index in range(num_shapes):
            case = drawn_layer(kind, draw, usual=index < num_shapes // 2)
            for train in (True, False) if kind is specs.BatchNorm else (True,):
                reference, measured = (
                    _layer(pair, probe, precision, case, (kind, index, train)) for probe in pair.probes
                )
                found = errors(measured, reference, max_relative)
                name = max(found, key=found.__getitem__)
                if not found[name] <= worst:
                    worst, where = found[name], f"{name} of {case.spec} on {case.inputs.shape}, train={train}"
        yield Measurement(3, kind.__name__, precision, worst, LAYER_TOLERANCES[precision], where)


def _layer(pair: Pair, probe: Probe, precision: str, case: LayerCase, key: tuple[type, int, bool]) -> Weights:
    config = pair.at(precision)
    return pair.result(probe, precision, ("layer", *key), lambda: probe.layer(config, case, train=key[-1]))


def drawn_layer(kind: type, draw: np.random.Generator, *, usual: bool) -> LayerCase:
    """A layer of drawn sizes and values; `usual` is kernel 4, stride 2, padding 1."""
    batch, channels, size = int(draw.integers(2, 5)), int(draw.integers(1, 10)), int(draw.integers(3, 12))
    weights: Weights = {}
    spec: specs.LayerSpec
    if kind in (specs.Conv, specs.ConvTranspose):
        out_channels = int(draw.integers(1, 10))
        kernel, stride, padding = (4, 2, 1) if usual else map(int, draw.integers(1, 4, 3))
        kernel = max(kernel, padding + 1)
        spec = kind(channels, out_channels, kernel, stride, padding, bias=bool(draw.integers(2)))
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
    elif kind is specs.Linear:
        # One way or the other it meets an image, whose flattened order is where the frameworks differ.
        out_channels, out_size = int(draw.integers(2, 10)), 1 if usual else int(draw.integers(2, 5))
        size = size if usual else 1
        spec = specs.Linear(channels, out_channels, size, out_size, bias=bool(draw.integers(2)))
        weights["weight"] = draw.standard_normal((spec.out_features, spec.in_features))
        if spec.bias:
            weights["bias"] = draw.standard_normal(spec.out_features)
        out_shape = (batch, out_channels, out_size, out_size)
    else:
        spec = specs.BatchNorm(channels) if kind is specs.BatchNorm else kind()
        if kind is specs.BatchNorm:
            weights = {name: draw.standard_normal(channels) for name in ("weight", "bias", "running_mean")}
            weights["running_var"] = draw.uniform(0.5, 2, channels)
        out_shape = (batch, channels, size, size)
    inputs = draw.standard_normal((batch, channels, size, size))
    if kind not in (specs.Conv, specs.ConvTranspose, specs.Linear):
        inputs[:, :, 0] = 0  # where LeakyReLU's and ReLU's derivatives are a convention
    return LayerCase(spec, inputs, draw.standard_normal(out_shape), weights)


def forward(pair: Pair, precision: str) -> Iterator[Measurement]:
    """What D is shown, and every intermediate tensor of both networks in train and eval mode, in execution order."""
    images, latents = pair.data(0, 1)
    torch_images, jax_images = (
        probe.network_inputs(pair.trainer(probe, precision), images[0]) for probe in pair.probes
    )
    tolerance = LAYER_TOLERANCES[precision]
    shown = max_relative(jax_images, torch_images)
    yield Measurement(4, "images as the discriminator sees them", precision, shown, tolerance)
    for network, inputs in (
        ("generator", latents[0, 0][:, :, None, None].astype(np.float64)),
        ("discriminator", torch_images),
    ):
        for train in (True, False):
            torch_outputs, jax_outputs = (
                pair.result(
                    probe,
                    precision,
                    ("activations", network, train, inputs.tobytes()),
                    lambda probe=probe, network=network, inputs=inputs, train=train: activations(
                        probe, pair.trainer(probe, precision), network, inputs, train=train
                    ),
                )
                for probe in pair.probes
            )
            yield against_noise(
                4,
                f"{network}, {'train' if train else 'eval'} mode, {len(torch_outputs)} layers",
                precision,
                measured=errors(jax_outputs, torch_outputs, max_relative),
                tolerance=tolerance,
                reference=torch_outputs,
                disturbed=None
                if precision == "float64"
                else lambda network=network, inputs=inputs, train=train: disturbed_activations(
                    pair, network, inputs, train=train
                ),
                distance=max_relative,
            )


def losses(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Both losses and their gradients for logits up to +-120, with the config's targets and with smoothed ones."""
    logits = np.concatenate([np.linspace(-120, 120, 97), [0.0, 1e-6, -1e-6]])
    for name, targets in {"targets of the config": {}, "smoothed targets": SMOOTHED_TARGETS}.items():
        config = replace(pair.at(precision), **targets)
        reference, measured = (probe.losses(config, logits, logits[::-1].copy()) for probe in pair.probes)
        found = errors(measured, reference, max_relative)
        yield Measurement.of_worst(5, name, precision, found, LAYER_TOLERANCES[precision])


def gradients(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Gradients of every parameter, D's and G's; in float64 also against finite differences, which know no autodiff."""
    images, latents = pair.data(0, 1)
    torch_gradients, jax_gradients = (
        pair.result(
            probe,
            precision,
            ("gradients",),
            lambda probe=probe: probe.gradients(pair.trainer(probe, precision), images[0], latents[0, 0]),
        )
        for probe in pair.probes
    )
    # Gradients are found from the last layer to the first.
    measured = dict(reversed(errors(jax_gradients, torch_gradients, max_relative).items()))
    for network in ("discriminator", "generator"):
        own = {name: error for name, error in measured.items() if name.startswith(network)}
        yield against_noise(
            6,
            f"{network}, {len(own)} tensors",
            precision,
            measured=own,
            tolerance=GRADIENT_TOLERANCES[precision],
            reference=torch_gradients,
            disturbed=(lambda: disturbed_gradients(pair)) if precision == "float32" else None,
            distance=max_relative,
        )
    if precision == "float64":
        slopes = [
            slope for step in FINITE_DIFFERENCE_STEPS for slope in finite_differences(pair, torch_gradients, step)
        ]
        if not max(slope_errors(torch_gradients, slopes).values()) <= FINITE_DIFFERENCE_TOLERANCE:
            shortest = finite_differences(pair, torch_gradients, SHORTEST_FINITE_DIFFERENCE_STEP)
            slopes += [slope for slope in shortest if abs(slope.difference) > slope.smallest]
        for probe, found in zip(pair.probes, (torch_gradients, jax_gradients), strict=True):
            best = slope_errors(found, slopes)
            name = f"{probe.name} against central finite differences"
            yield Measurement.of_worst(6, name, precision, best, FINITE_DIFFERENCE_TOLERANCE)


def optimizer(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Adam on given gradients of scales 1e-1 to 1e-8, in units of the learning rate."""
    draw = stream(pair.config.seed, "parity/optimizer")
    scales = 10.0 ** -np.arange(1, 9)
    given = (draw.standard_normal((NUM_ADAM_STEPS, 8, len(scales))) * scales).reshape(NUM_ADAM_STEPS, -1)
    start = draw.standard_normal(given[0].size) * 0.02
    few, zero = NUM_STEPS_FROM_ZERO, np.zeros_like(start)
    tolerance = STEPS_FROM_ZERO_TOLERANCES[precision]
    yield Measurement(7, f"{few} steps from 0", precision, _adam_gap(pair, precision, zero, given[:few]), tolerance)
    gap, tolerance = _adam_gap(pair, precision, start, given), ADAM_TOLERANCES[precision]
    yield Measurement(7, f"{NUM_ADAM_STEPS} steps", precision, gap, tolerance)


def _adam_gap(pair: Pair, precision: str, start: np.ndarray, gradients: np.ndarray) -> float:
    """How far the frameworks part at most, in learning rates."""
    config = pair.at(precision)
    torch_path, jax_path = (probe.adam(config, start, gradients).astype(np.float64) for probe in pair.probes)
    return float(np.abs(torch_path - jax_path).max() / config.learning_rate_generator)
