"""The ladder: every rung, from equal names to equal trajectories, in float64 and float32."""

import math
from collections.abc import Callable, Iterator, Sequence

from common.errors import UserError
from common.stages import stage
from comparison.parity import envelope
from comparison.parity.arms import LADDER, Arm
from comparison.parity.pair import PRECISIONS, Measurement, Pair
from comparison.parity.rungs import inputs, pieces, training, trajectories

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
    trajectories.trajectory,
    trajectories.noise_floor,
    trajectories.late,
)


def what_is_climbed(arm: Arm | None) -> tuple[Sequence[Rung], Sequence[str]]:
    """The rungs and the precisions that certify a configuration, or one arm of a benchmark."""
    if arm is None or arm.kind == LADDER:
        return RUNGS, PRECISIONS
    return (envelope.RUNGS, (arm.precision,)) if arm.has_twin else (RUNGS, ("float64",))


def climb(
    pair: Pair,
    rungs: Sequence[Rung] | None = None,
    precisions: Sequence[str] = PRECISIONS,
    *,
    stop_at_first_failure: bool = False,
) -> Iterator[Measurement]:
    """Every measurement of every rung, float64 before float32; a rung that cannot be measured does not hold."""
    rungs = RUNGS if rungs is None else rungs
    with stage("climbing the ladder", len(rungs)) as parts:
        for number, rung in enumerate(rungs):
            for precision in precisions:
                parts.begin(f"rung {number}, {rung.__name__.replace('_', ' ')}, {precision}")
                for measurement in _measured(rung, number, pair, precision):
                    yield measurement
                    if stop_at_first_failure and not measurement.holds:
                        return
                parts.advance(1 / len(precisions))


def _measured(rung: Rung, number: int, pair: Pair, precision: str) -> Iterator[Measurement]:
    try:
        yield from rung(pair, precision)
    except UserError:
        raise  # a missing device, say, is no difference
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # What a difference can do to a framework: shapes that do not fit, a graph that is gone, a missing tensor.
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        yield Measurement(number, f"{rung.__name__} could not be measured", precision, math.inf, 0.0, reason)
