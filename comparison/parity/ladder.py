"""The ladder: every rung, from equal names to equal trajectories, in float64 and float32."""

from collections.abc import Callable, Iterator

from comparison.parity import inputs, pieces, training
from comparison.parity.pair import PRECISIONS, Measurement, Pair

Rung = Callable[[Pair, str], Iterator[Measurement]]

# In order: each rung stands on those below it.
RUNGS: tuple[Rung, ...] = (
    inputs.specification,
    inputs.data_and_noise,
    inputs.loaded_weights,
    pieces.layers,
    pieces.forward,
    pieces.losses,
    pieces.gradients,
    pieces.optimizer,
    training.steps,
    training.running_statistics,
    training.samples,
    training.trajectory,
    training.noise_floor,
)


def climb(pair: Pair, *, stop_at_first_failure: bool = False) -> Iterator[Measurement]:
    """Every measurement of every rung, float64 before float32."""
    for rung in RUNGS:
        for precision in PRECISIONS:
            for measurement in rung(pair, precision):
                yield measurement
                if stop_at_first_failure and not measurement.holds:
                    return
