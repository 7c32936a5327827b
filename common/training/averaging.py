"""How fast the generator's average forgets (Yazici et al. 2019, arXiv:1806.04498), and that average once more in NumPy.

The trainers keep it, on their devices, as the last part of each step. What a step forgets is a number of the host's, so
that both frameworks are given the same.
"""

import numpy as np

from common.contract import Weights, is_averaged


def average_decays(decay: float, *, first_step: int, num_steps: int) -> np.ndarray:
    """What the average keeps of itself at each of the steps after `first_step`: float64 (num_steps,)."""
    steps = np.arange(first_step + 1, first_step + num_steps + 1)
    # Early on a long memory would hold mostly the initial weights: it grows with the steps seen so far.
    return np.minimum(decay, (1 + steps) / (10 + steps))


class GeneratorAverage:
    """The witness: what the average must be, given the weights after each step; the ladder and tests hold it beside."""

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: array.copy() for name, array in weights.items() if is_averaged(name)}

    def update(self, weights: Weights, decay: float) -> None:
        """Take in the weights after a step."""
        for name, average in self.weights.items():
            share = average.dtype.type(decay)  # the trainer's number: both shares must add up to 1 in its precision
            average *= share
            average += (1 - share) * weights[name]
