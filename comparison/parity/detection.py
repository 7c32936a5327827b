"""Plants every bug in turn and climbs until a rung catches it; the clean code is climbed beside them."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from multiprocessing import get_context
from typing import NamedTuple

from common.stages import stage
from comparison.parity import compilation
from comparison.parity.ladder import climb
from comparison.parity.options import ParityOptions
from comparison.parity.pair import Measurement, Pair
from comparison.parity.planted import PLANTED_BUGS
from comparison.parity.planted.bug import PlantedBug
from comparison.parity.setup import make_pair


class Detection(NamedTuple):
    """The measurement that caught the bug; None if every rung held."""

    bug: PlantedBug
    caught_by: Measurement | None

    @property
    def is_expected(self) -> bool:
        """Whether it is caught, or missed for the reason that is known; a reason for one that is caught is wrong.

        In float32 a bug as small as rounding is caught on some processors alone: there, either is expected.
        """
        if self.bug.missed_because and self.caught_by is not None:
            return self.caught_by.precision == "float32"
        return (self.caught_by is None) == bool(self.bug.missed_because)


class Detections(NamedTuple):
    """What the ladder caught, and what of the clean code did not hold."""

    detections: list[Detection]
    clean_failures: list[Measurement]

    @property
    def holds(self) -> bool:
        """The clean code passes, and of the bugs all are caught but those that are known to be missed."""
        return not self.clean_failures and all(detection.is_expected for detection in self.detections)


def detect(bug: PlantedBug, pair: Pair) -> Detection:
    """The first measurement that does not hold with the bug in place."""
    with bug.planted():
        fresh = pair.forgetting(bug.framework, but=bug.leaves_alone, **bug.config)
        fresh = fresh.executing(bug.framework, bug.execution)
        failed = [each for each in climb(fresh, stop_at_first_failure=True) if not each.holds]
    if not bug.config:  # the other framework is as it was
        pair.remembering(fresh, "jax" if bug.framework == "torch" else "torch")
    return Detection(bug, failed[0] if failed else None)


def detect_all(options: ParityOptions) -> Iterator[Detection | list[Measurement]]:
    """Failures of the clean code, then every detection, in order; as many processes as `--threads` says."""
    num_workers = options.num_threads
    with (
        tempfile.TemporaryDirectory() as cache,
        ProcessPoolExecutor(
            num_workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(options, cache)
        ) as pool,
    ):
        clean = pool.submit(_clean_failures)
        found = [pool.submit(_detect, index) for index in range(len(PLANTED_BUGS))]
        with stage("planting bugs", len(found)) as parts:
            for future in found:
                future.add_done_callback(lambda _: parts.advance())
            yield clean.result()
            for future in found:
                yield future.result()


# The pair of a worker process, made once.
_pair: Pair | None = None


def _start_worker(options: ParityOptions, cache: str) -> None:
    global _pair
    os.environ["PJRT_NPROC"] = "1"  # read when JAX starts
    if version("jaxlib").startswith(compilation.JAXLIB):  # a bug is one with XLA's optimisation or without
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {compilation.FLAGS}"
    # Bugs are of the source, not of a device, and a GPU has no room for so many clients.
    _pair = make_pair(replace(options, device="cpu"), num_threads=1)
    import jax

    # What a bug does not touch is compiled once for all of them.
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _clean_failures() -> list[Measurement]:
    assert _pair is not None
    return [measurement for measurement in climb(_pair) if not measurement.holds]


def _detect(index: int) -> Detection:
    assert _pair is not None
    return detect(PLANTED_BUGS[index], _pair)
