"""The running average of the generator's weights that samples are drawn from (Yazici et al. 2019, arXiv:1806.04498)."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.contract import Trainer, Weights, is_averaged


class GeneratorAverage:
    """An exponential moving average, in NumPy and so the same for both frameworks, of the generator alone.

    It never feeds back into training. BatchNorm's running statistics are averaged with the weights they belong to.
    """

    def __init__(self, decay: float, weights: Weights) -> None:
        self.decay = decay
        self.weights = {name: array.copy() for name, array in weights.items() if is_averaged(name)}

    def update(self, weights: Weights, *, step: int, num_steps: int) -> None:
        """Take in the weights after step `step`, the last of `num_steps` since the previous update."""
        # Early on a long memory would hold mostly the initial weights: it grows with the steps seen so far.
        decay = min(self.decay, (1 + step) / (10 + step)) ** num_steps
        for name, average in self.weights.items():
            average *= decay
            average += (1 - decay) * weights[name]

    @contextmanager
    def applied(self, trainer: Trainer) -> Iterator[None]:
        """Inside, the trainer generates with the average; afterwards it goes on as if nothing had happened."""
        weights = trainer.export_weights()
        trainer.load_weights(weights | self.weights)
        try:
            yield
        finally:
            trainer.load_weights(weights)
