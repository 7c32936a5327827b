"""Central finite differences of the losses: rung 6's third witness, which knows no automatic differentiation."""

import math
from typing import NamedTuple

import numpy as np

from common.contract import Weights
from common.data.randomness import stream
from comparison.parity.pair import Pair

# They show that a gradient is of this loss and no other; both frameworks' are held to each other far more tightly.
FINITE_DIFFERENCE_TOLERANCE = 1e-5
LOSS_ROUNDING = 4 * np.finfo(np.float64).eps  # relative: of a mean over a batch, a few last bits


class Slope(NamedTuple):
    """How much a loss changes when one tensor moves along a direction."""

    name: str
    direction: np.ndarray
    difference: float
    smallest: float  # below it, rounding of the loss is beyond the tolerance


def finite_differences(pair: Pair, gradients: Weights, step: float) -> list[Slope]:
    """Of each tensor, the central difference of PyTorch's loss, which rungs 4 and 5 have shown to be JAX's too."""
    images, latents = pair.data(0, 1)
    weights = pair.initial_weights("float64")
    draw = stream(pair.config.seed, "parity/directions")
    slopes = []
    for name, gradient in gradients.items():
        direction = draw.standard_normal(gradient.shape)
        # Half along the gradient: where that is small across the direction, rounding would be all one sees.
        direction = direction / np.linalg.norm(direction) + gradient / (np.linalg.norm(gradient) or 1)
        ahead, behind = (
            pair.torch.loss_values(
                pair.trainer(pair.torch, "float64", weights={**weights, name: weights[name] + signed * direction}),
                images[0],
                latents[0, 0],
            )[name.split(".")[0]]
            for signed in (step, -step)
        )
        blur = LOSS_ROUNDING * max(abs(ahead), abs(behind)) / step
        slopes.append(Slope(name, direction, (ahead - behind) / (2 * step), blur / FINITE_DIFFERENCE_TOLERANCE))
    return slopes


def slope_errors(gradients: Weights, slopes: list[Slope]) -> dict[str, float]:
    """How far the gradient of each tensor is from the slope that it meets best."""
    best: dict[str, float] = {}
    for slope in slopes:
        expected = float(np.sum(gradients[slope.name] * slope.direction))
        # Of a slope that the loss's own rounding hides, only that it is as small can be seen.
        error = abs(expected - slope.difference) / max(abs(slope.difference), slope.smallest)
        best[slope.name] = min(best.get(slope.name, math.inf), error)
    return best
