"""What every rung is given: both frameworks, the configuration under test, and its data."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from common.config import TrainConfig
from common.contract import Weights
from common.data.initial_weights import initial_weights
from common.data.randomness import epoch_permutation
from common.networks.layers import Architecture
from common.training.chunk_data import ChunkData, chunk_data
from common.training.log import CHUNK_STEPS
from comparison.parity.probes.probe import Probe

PRECISIONS = ("float64", "float32")
# Where a trajectory is looked at by more than one rung: what it held there is kept.
STOPS = (1, 2, 10, 50, 100, 300)


class Measurement(NamedTuple):
    """One comparison; it holds if the measured value is finite and does not exceed a finite tolerance."""

    rung: int
    name: str
    precision: str
    measured: float
    tolerance: float
    where: str = ""

    @property
    def holds(self) -> bool:
        return bool(math.isfinite(self.measured) and math.isfinite(self.tolerance) and self.measured <= self.tolerance)

    @classmethod
    def of_worst(
        cls, rung: int, name: str, precision: str, errors: Mapping[str, float], tolerance: float
    ) -> "Measurement":
        """The largest of several errors, by what they are of."""
        where = max(errors, key=errors.__getitem__)
        return cls(rung, name, precision, errors[where], tolerance, where)

    @property
    def headroom(self) -> float:
        """How many times the measured value would fit into the tolerance."""
        return self.tolerance / self.measured if self.measured > 0 else float("inf")


class Snapshot(NamedTuple):
    """All state of a trainer after some steps, and what each step of its run measured: `StepMetrics` (4, steps)."""

    weights: Weights
    metrics: np.ndarray


@dataclass(frozen=True)
class Pair:
    """Both frameworks on one configuration; `num_steps` is how long the trajectories are followed.

    Trainers, trajectories and results are made once and shared by all rungs: a compilation costs more than a hundred
    steps.
    """

    torch: Probe
    jax: Probe
    config: TrainConfig
    architecture: Architecture
    train_images: np.ndarray
    num_steps: int
    checkpoint: Weights | None = None  # of a run, in float64
    _trainers: dict[tuple[str, str, str], Any] = field(default_factory=dict, repr=False)
    _trajectories: dict[tuple[Any, ...], "Trajectory"] = field(default_factory=dict, repr=False)
    _results: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def probes(self) -> tuple[Probe, Probe]:
        """Both probes, PyTorch first: it is the reference."""
        return self.torch, self.jax

    @property
    def other_variant(self) -> str:
        """The variant that is not the configuration's."""
        return "idiomatic" if self.config.variant == "tuned" else "tuned"

    def at(self, precision: str, variant: str | None = None) -> TrainConfig:
        """The configuration in another precision, or another variant too."""
        return replace(self.config, precision=precision, variant=variant or self.config.variant)

    def forgetting(self, framework: str, *, but: Sequence[str] = (), **changes: Any) -> "Pair":
        """The same with nothing kept of one framework `but` these results, or of either in another config."""
        kept = [
            {key: made for key, made in of.items() if not changes and (key[0] != framework or key[2] in but)}
            for of in (self._trainers, self._results)
        ]
        config = replace(self.config, **changes)
        return replace(self, config=config, _trainers=kept[0], _trajectories={}, _results=kept[1])

    def executing(self, framework: str, execution: str) -> "Pair":
        """The same, with one framework's steps in another form from now on."""
        return replace(self, **{framework: getattr(self, framework).executing(execution)})

    def remembering(self, other: "Pair", framework: str) -> None:
        """Keep what another pair has made of one framework."""
        for own, others in ((self._trainers, other._trainers), (self._results, other._results)):
            own.update({key: made for key, made in others.items() if key[0] == framework})

    def result(self, probe: Probe, precision: str, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """What `compute` gives, of one framework alone and of nothing that a rung changes; computed once."""
        full_key = (probe.name, precision, *key)
        if full_key not in self._results:
            self._results[full_key] = compute()
        return self._results[full_key]

    def initial_weights(self, precision: str) -> Weights:
        """The weights both start from."""
        return initial_weights(self.at(precision), self.architecture)

    def trainer(
        self, probe: Probe, precision: str, *, weights: Weights | None = None, variant: str | None = None
    ) -> Any:
        """The one trainer of its kind, with the given weights or the initial ones; the next call takes it away."""
        config = self.at(precision, variant)
        key = (probe.name, precision, config.variant)
        if key not in self._trainers:
            self._trainers[key] = probe.create_trainer(config, self.architecture, self.train_images)
        trainer = self._trainers[key]
        trainer.load_weights(self.initial_weights(precision) if weights is None else weights)
        return trainer

    def trajectory(
        self,
        probe: Probe,
        precision: str,
        *,
        variant: str | None = None,
        nudge: Callable[[Weights], Weights] | None = None,
        other_num_threads: bool = False,
    ) -> "Trajectory":
        """The run of one framework from the initial weights, or from nudged ones."""
        key = (probe.name, precision, variant, nudge, other_num_threads)
        if key not in self._trajectories:
            start = self.initial_weights(precision)
            start = nudge(start) if nudge else start
            self._trajectories[key] = Trajectory(
                self, probe, precision, start, variant=variant, other_num_threads=other_num_threads
            )
        return self._trajectories[key]

    @cached_property
    def order(self) -> np.ndarray:
        """The images' order in the first epoch."""
        return epoch_permutation(self.config.seed, 0, len(self.train_images))

    def data(self, first_step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (K, B, S, S[, 3]) and latents (K, L, B, Z) of steps `first_step`..."""
        chunk = self.chunk(first_step, count)
        return self.train_images[chunk.indices], chunk.latents

    def chunk(self, first_step: int, count: int) -> ChunkData:
        """What the loop gives a trainer for steps `first_step`..; an epoch's end cuts it short."""
        num_steps = len(self.train_images) // self.config.batch_size
        start = first_step % num_steps
        count = min(count, num_steps - start)
        return chunk_data(self.config, self.order, start, count, first_step=first_step)


@dataclass
class Trajectory:
    """One training run that is followed only as far as a rung asks, and remembers every stop on the way.

    Weights are handed back to the trainer before it goes on, which rung 0 has shown to be exact.
    """

    pair: Pair
    probe: Probe
    precision: str
    state: Weights  # of the last step taken
    _: KW_ONLY
    step: int = 0
    variant: str | None = None
    reorder: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    other_num_threads: bool = False
    _metrics: list[np.ndarray] = field(default_factory=list, init=False)
    _snapshots: dict[int, Snapshot] = field(default_factory=dict, init=False)

    def at(self, step: int) -> Snapshot:
        """The trainer after `step` steps: one of STOPS that this run has passed, or no less far than it has been."""
        for stop in (*STOPS, step):
            if self.step < stop <= step:
                self._train_to(stop)
        return self._snapshots[step] if step in self._snapshots else self._now(step)

    def _train_to(self, step: int) -> None:
        trainer = self.pair.trainer(self.probe, self.precision, weights=self.state, variant=self.variant)
        while self.step < step:
            indices, latents, decays = self.pair.chunk(self.step, min(CHUNK_STEPS, step - self.step))
            if self.reorder is not None:
                indices, latents = self.reorder(indices, latents)
            with self.probe.other_num_threads() if self.other_num_threads else nullcontext():
                metrics = trainer.train_chunk(indices, latents, decays)
            self._metrics.append(np.stack(metrics))
            self.step += len(indices)
        self.state = trainer.export_weights()
        if step in STOPS:
            self._snapshots[step] = self._now(step)

    def _now(self, step: int) -> Snapshot:
        assert step == self.step, f"this run is at step {self.step} and has not kept step {step}"
        return Snapshot(self.state, np.concatenate(self._metrics, axis=1))
