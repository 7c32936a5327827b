"""What is measured beside the step: neighbours, other batch sizes, quality over time, and compilation."""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import RunFailedError, UserError
from common.records.folder import FRAMEWORK_NAMES
from common.stages import in_stage
from comparison.bench import verdicts
from comparison.bench.neighbours import beside_neighbours
from comparison.bench.schedule import Bench, repeat
from comparison.parity.arms import Arm


def measure_beside(arms: Sequence[Arm], batch_sizes: Sequence[int], bench: Bench) -> dict[str, Any]:
    """Other batch sizes, quality and compilation; what fails there is told under `failed`, and costs no arm."""
    found: dict[str, Any] = {"neighbours": [], "batch_sizes": [], "quality": [], "failed": []}

    def attempt(name: str, what: Callable[[], list[dict[str, Any]]]) -> None:
        try:
            found[name] += what()
        except (RunFailedError, UserError) as error:
            found["failed"].append(f"{name}: {error}")
            bench.say(found["failed"][-1])

    if bench.options.neighbours:
        attempt("neighbours", lambda: beside_neighbours(arms, bench))
    for size in batch_sizes:
        attempt("batch_sizes", lambda size=size: at_batch_size(size, arms, bench))
    for size in dict.fromkeys((bench.options.config.batch_size, *batch_sizes)):
        attempt("quality", lambda size=size: quality_over_time(size, arms, bench))
    return {**found, "compilation": compilation_times(arms, bench)}


def at_batch_size(batch_size: int, arms: Sequence[Arm], bench: Bench) -> list[dict[str, Any]]:
    """The tuned forms at one batch size; no ratios, since each size would need a certificate of its own."""
    config = replace(bench.options.config, batch_size=batch_size)
    tuned = [arm for arm in arms if arm.name in FRAMEWORK_NAMES]
    bench.say(f"Batches of {batch_size}")
    repetitions = repeat(tuned, bench.options.repetitions, lambda arm: bench.step(arm, config), bench.say)
    return [
        {"batch_size": batch_size, "arm": arm.name, **verdicts.speed_of(records, batch_size=batch_size)}
        for arm, records in zip(tuned, repetitions, strict=True)
    ]


def quality_over_time(batch_size: int, arms: Sequence[Arm], bench: Bench) -> list[dict[str, Any]]:
    """The tuned forms trained for some epochs, scored quickly after each; compilation is that of the first process."""
    entries, num_epochs = [], bench.options.quality_epochs
    for arm in arms:
        if arm.name in FRAMEWORK_NAMES and num_epochs:
            config = arm.config(replace(bench.options.config, batch_size=batch_size))
            epochs = []
            with tempfile.TemporaryDirectory() as folder:
                training = bench.train(arm, config, Path(folder), num_epochs=num_epochs)
                for epoch in in_stage(training, f"training {arm.name}, batches of {batch_size}", num_epochs):
                    distance = epoch.quality.get("frechet_distance", math.nan)
                    bench.say(
                        f"{arm.name}, batches of {batch_size}, epoch {epoch.epoch}: Fréchet distance {distance:.2f}"
                    )
                    epochs.append(epoch)
            entries.append(
                {
                    "arm": arm.name,
                    "batch_size": batch_size,
                    "first_chunk_extra_seconds": epochs[0].first_chunk_extra_seconds,
                    "floor": epochs[-1].floor.get("frechet_distance"),
                    "epochs": [
                        {
                            "epoch": epoch.epoch,
                            "training_seconds": epoch.training_seconds,
                            **{name: epoch.quality.get(name) for name in ("frechet_distance", "kid", "mnist_score")},
                        }
                        for epoch in epochs
                    ],
                }
            )
    return entries


def compilation_times(arms: Sequence[Arm], bench: Bench) -> dict[str, dict[str, float]]:
    """Of each tuned JAX arm, what compiling costs with an empty cache and with a full one, and steps after each."""
    found = {}
    for arm in arms:
        if arm.framework == "jax" and arm.variant == "tuned":
            with tempfile.TemporaryDirectory() as cache:
                caches = in_stage(verdicts.CACHES, f"timing compilation of {arm.name}", len(verdicts.CACHES))
                records = [bench.step(arm, bench.options.config, cache=Path(cache)) for _ in caches]
            of_caches = zip(
                verdicts.CACHES,
                records,
                verdicts.first_block_extra_seconds(records),
                verdicts.step_seconds(records),
                strict=True,
            )
            found[arm.name] = {}
            for name, record, extra_seconds, step_seconds in of_caches:
                found[arm.name] |= {
                    f"{name}_compile_seconds": record["compile_seconds"],
                    f"{name}_first_block_extra_seconds": extra_seconds,
                    f"{name}_milliseconds_per_step": 1e3 * step_seconds,
                }
    return found
