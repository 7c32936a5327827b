"""Whether a run can go on from a checkpoint: every tensor is there and possible, and all counts agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.config import TrainConfig
from common.contract import Weights, WeightsError, check_weights, expected_shapes, is_averaged
from common.networks.layers import Architecture
from common.records.checkpoint import AVERAGE_PREFIX, Checkpoint

NEVER_NEGATIVE = (".running_var", ".exp_avg_sq")  # a root is taken of them
MAX_UPDATES = 2**31 - 1  # optax counts in int32


def check_tensors(weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig) -> None:
    """Raise WeightsError, which names the tensor, unless both are whole, finite and of these networks."""
    averaged = {name for name in expected_shapes(architecture) if is_averaged(name)}
    for name in average:
        if name not in averaged:
            raise WeightsError(f"{AVERAGE_PREFIX}{name} is unknown: the average is not of preset {config.preset}")
    parts = {"": weights, AVERAGE_PREFIX: {n: a for n, a in weights.items() if n not in averaged} | average}
    for prefix, tensors in parts.items():
        try:
            check_weights(tensors, architecture, config)
        except WeightsError as error:
            raise WeightsError(f"{prefix}{error}") from None
        for name, array in tensors.items():
            if not np.isfinite(array).all():
                raise WeightsError(f"{prefix}{name} holds NaN or infinity")
            if name.endswith(NEVER_NEGATIVE) and (array < 0).any():
                raise WeightsError(f"{prefix}{name} holds a number below 0")


def checked_step(checkpoint: Checkpoint, config: TrainConfig, *, steps_per_epoch: int) -> int:
    """The step the checkpoint was made at; ValueError unless it fits the run and Adam's own counts of updates."""
    step, epoch = (_count(checkpoint.header, name) for name in ("step", "epoch"))
    last_step = config.epochs * steps_per_epoch
    if step > last_step:
        raise ValueError(f"its header says step {step}, but {config.epochs} epochs end at step {last_step}")
    if epoch * steps_per_epoch > step:
        raise ValueError(f"its header says that {epoch} epochs are complete, which takes more than its {step} steps")
    for network, updates_per_step in (("discriminator", 1), ("generator", config.generator_updates)):
        counted, made = int(checkpoint.weights[f"{network}.adam.step"]), step * updates_per_step
        if counted != made:
            raise ValueError(f"{network}.adam.step is {counted}, but {step} steps make {made} updates")
        if counted > MAX_UPDATES:
            raise ValueError(f"{network}.adam.step is {counted}, more than the {MAX_UPDATES} updates JAX can count")
    return step


def _count(header: Mapping[str, Any], name: str) -> int:
    """A real integer: True, 64.0 and "64" are none."""
    value = header.get(name)
    if type(value) is not int or value < 0:
        raise ValueError(f"its header holds no {name}{f' but {value!r}' if name in header else ''}")
    return value
