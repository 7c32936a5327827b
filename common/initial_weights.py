"""Initial weights, drawn once in NumPy for both frameworks (Radford et al. 2016, section 4; pytorch/examples dcgan)."""

import numpy as np

from common.architectures import Architecture
from common.config import TrainConfig
from common.contract import STORAGE_DTYPES, Weights, expected_shapes
from common.randomness import stream

WEIGHT_STANDARD_DEVIATION = 0.02


def initial_weights(config: TrainConfig, architecture: Architecture) -> Weights:
    """Weights N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0; running statistics and Adam state at rest."""
    return {name: _initial_tensor(config, name, shape) for name, shape in expected_shapes(architecture).items()}


def _initial_tensor(config: TrainConfig, name: str, shape: tuple[int, ...]) -> np.ndarray:
    dtype = STORAGE_DTYPES[config.precision]
    if name.endswith(".adam.step"):
        return np.zeros(shape, np.int64)
    if name.endswith(".running_var"):
        return np.ones(shape, dtype)
    if not name.endswith(".weight"):
        return np.zeros(shape, dtype)
    # Each tensor has its own stream, so adding a layer does not change the others' draws.
    noise = stream(config.seed, f"initial_weights/{name}").standard_normal(shape, dtype=np.float32)
    mean = 1.0 if len(shape) == 1 else 0.0  # only a BatchNorm's scale is a vector
    return (mean + WEIGHT_STANDARD_DEVIATION * noise.astype(np.float64)).astype(dtype)
