"""Half of a climb in a process of its own: most of a climb is compilation, which keeps one core busy."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from comparison.parity.ladder import RUNGS, Elsewhere, measured
from comparison.parity.options import ParityOptions
from comparison.parity.pair import PRECISIONS, Measurement, Pair
from comparison.parity.rungs import pieces
from comparison.parity.setup import make_pair

# All float32 rungs, and in float64 those that need no compiled step: about half of the time.
CLIMBED_ELSEWHERE = [
    (number, precision)
    for number, rung in enumerate(RUNGS)
    for precision in PRECISIONS
    if precision == "float32" or rung in (pieces.layers, pieces.forward, pieces.losses, pieces.optimizer)
]


@contextmanager
def half_elsewhere(options: ParityOptions, *, num_threads: int) -> Iterator[Elsewhere]:
    """Half of the rungs and precisions, each as it will be when the other process has climbed it."""
    context = get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start, initargs=(options, num_threads))
    try:
        yield {rung: pool.submit(_climb, *rung) for rung in CLIMBED_ELSEWHERE}
    finally:
        pool.shutdown(cancel_futures=True)


# The pair of the other process, made once.
_pair: Pair | None = None


def _start(options: ParityOptions, num_threads: int) -> None:
    global _pair
    _pair = make_pair(options, num_threads=num_threads)


def _climb(number: int, precision: str) -> list[Measurement]:
    assert _pair is not None
    return list(measured(_pair, number, precision))
