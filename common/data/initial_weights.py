"""Initial weights, drawn once in NumPy for both frameworks."""

import math

import numpy as np

from common.config import TrainConfig
from common.contract import STORAGE_DTYPES, Weights, expected_shapes
from common.data.randomness import stream
from common.networks.layers import Architecture

WEIGHT_STANDARD_DEVIATION = 0.02


def initial_weights(config: TrainConfig, architecture: Architecture) -> Weights:
    """Every tensor as `config.initialization` says; running statistics and Adam state at rest.

    "normal": weights N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0 (Radford et al. 2016, section 4, as in
    pytorch/examples). "uniform": weights and biases within 1 / sqrt(fan in), BatchNorm scales 1: PyTorch's own.
    """
    shapes = expected_shapes(architecture)
    return {name: _initial_tensor(config, name, shapes) for name in shapes}


def _initial_tensor(config: TrainConfig, name: str, shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    dtype, shape = STORAGE_DTYPES[config.precision], shapes[name]
    layer, _, kind = name.rpartition(".")
    if name.endswith(".adam.step"):
        return np.zeros(shape, np.int64)
    if kind == "running_var":
        return np.ones(shape, dtype)
    if kind not in ("weight", "bias"):
        return np.zeros(shape, dtype)
    weight_shape = shapes[f"{layer}.weight"]
    is_batch_norm = len(weight_shape) == 1
    # Each tensor has its own stream, so adding a layer does not change the others' draws.
    draw = stream(config.seed, f"initial_weights/{name}")
    if config.initialization == "uniform" and not is_batch_norm:
        # As torch.nn counts it: of a transposed convolution, (in, out, K, K), it takes the outputs.
        fan_in = math.prod(weight_shape[1:])
        return draw.uniform(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), shape).astype(dtype)
    mean = 1.0 if is_batch_norm and kind == "weight" else 0.0
    if kind == "bias" or config.initialization == "uniform":
        return np.full(shape, mean, dtype)
    noise = draw.standard_normal(shape, dtype=np.float32)
    return (mean + WEIGHT_STANDARD_DEVIATION * noise.astype(np.float64)).astype(dtype)
