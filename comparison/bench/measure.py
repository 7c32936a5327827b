"""What `bench` measures, in order, and the one object that its JSON holds."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.architectures import count_parameters
from common.config import TrainConfig, to_dict
from common.errors import UserError
from common.layers import Architecture
from common.records import FRAMEWORK_NAMES
from comparison.bench import results
from comparison.bench.arms import Arm
from comparison.bench.certificates import certify
from comparison.bench.flops import flops_per_step
from comparison.bench.options import BenchOptions
from comparison.bench.protocol import Bench, repeat
from comparison.runs import Children

Say = Callable[[str], None]


def measure(
    options: BenchOptions,
    arms: Sequence[Arm],
    batch_sizes: Sequence[int],
    architecture: Architecture,
    children: Children,
    say: Say,
) -> dict[str, Any]:
    """Everything, one process at a time: certificate, roof, control, arms, batch sizes, compilation, roof again."""
    config, count = options.config, options.repetitions
    bench = Bench(children, num_threads=options.num_threads, place=options.place, length=options.length)
    frameworks = list(dict.fromkeys(arm.framework for arm in arms))
    roofs = {framework: bench.roof(framework) for framework in frameworks}
    environment = roofs[frameworks[0]]["environment"]
    devices = {framework: found["device"] for framework, found in roofs.items()}
    certificate = find_or_make_certificate(options, architecture, environment, devices, children, say)
    arms, failed = startable(arms, bench, config, say)

    say(f"Control: {arms[0].name} against itself")
    control = results.control_result(*repeat([arms[0], arms[0]], count, lambda arm: bench.step(arm, config), say))
    say(f"Arms: {', '.join(arm.name for arm in arms)}")
    repetitions = repeat(arms, count, lambda arm: bench.step(arm, config), say)
    beside = {
        "batch_sizes": [entry for size in batch_sizes for entry in at_batch_size(size, arms, options, bench, say)],
        "quality": [
            entry
            for size in dict.fromkeys((config.batch_size, *batch_sizes))
            for entry in quality_over_time(size, arms, options, bench, say)
        ],
        "compilation": compilation_times(arms, bench, config),
    }
    roofs_after = {framework: bench.roof(framework)["roof"] for framework in frameworks}

    found = results.bench_result(
        config,
        flops=flops_per_step(architecture, config),
        roof=results.roof_result({framework: found["roof"] for framework, found in roofs.items()}, roofs_after),
        arms={arm.name: arm for arm in arms},
        measured=dict(zip((arm.name for arm in arms), repetitions, strict=True)),
        certificate=certificate,
        control={"arm": arms[0].name, **control},
    )
    return {
        "config": to_dict(config),
        "num_parameters": count_parameters(architecture),
        "machine": machine(environment, devices, num_threads=options.num_threads),
        **found,
        "refused": found["refused"] | failed,
        **beside,
    }


def machine(environment: Mapping[str, Any], devices: Mapping[str, str], *, num_threads: int) -> dict[str, Any]:
    """What was measured on, with what."""
    names = ("python", "platform", "packages", "num_cpus", "cpu_flags", "memory_bytes", "environment_variables")
    told = {name: environment[name] for name in (*names, "source_hash", "started_at")}
    return {"num_threads": num_threads, "devices": dict(devices), **told}


def find_or_make_certificate(
    options: BenchOptions,
    architecture: Architecture,
    environment: Mapping[str, Any],
    devices: Mapping[str, str],
    children: Children,
    say: Say,
) -> results.Certificate:
    """It is of both frameworks, also when one alone is measured: the other is taken to run on the same device."""
    if not options.certify:
        return results.Certificate(False, "not certified: --no-certify")
    say("Parity: looking for a certificate, or climbing the quick ladder, once for this configuration")
    certificate = certify(
        options.config,
        architecture,
        environment,
        children,
        num_threads=options.num_threads,
        devices=dict.fromkeys(FRAMEWORK_NAMES, next(iter(devices.values()))) | dict(devices),
        flags=options.place,
    )
    say(f"Parity: {certificate.reason}")
    return certificate


def startable(arms: Sequence[Arm], bench: Bench, config: TrainConfig, say: Say) -> tuple[list[Arm], dict[str, str]]:
    """Arms without those that torch.compile cannot make here (it needs a C++ compiler), and why not."""
    able, failed = [], {}
    for arm in arms:
        if arm.compiled:
            try:
                bench.step(arm, config)
            except UserError as error:
                say(f"{error}: left out")
                failed[arm.name] = str(error)
                continue
        able.append(arm)
    if not able:
        raise UserError(f"no arm is left: {'; '.join(failed.values())}")
    return able, failed


def at_batch_size(
    batch_size: int, arms: Sequence[Arm], options: BenchOptions, bench: Bench, say: Say
) -> list[dict[str, Any]]:
    """The tuned forms at one batch size; no ratios, since each size would need a certificate of its own."""
    config = replace(options.config, batch_size=batch_size)
    tuned = [arm for arm in arms if arm.name in FRAMEWORK_NAMES]
    say(f"Batches of {batch_size}")
    entries = []
    repetitions = repeat(tuned, options.repetitions, lambda arm: bench.step(arm, config), say)
    for arm, records in zip(tuned, repetitions, strict=True):
        found = results.quartiles(results.step_seconds(records))
        entries.append(
            {
                "batch_size": batch_size,
                "arm": arm.name,
                "milliseconds_per_step": {name: 1e3 * value for name, value in found._asdict().items()},
                "images_per_second": batch_size / found.median,
            }
        )
    return entries


def quality_over_time(
    batch_size: int, arms: Sequence[Arm], options: BenchOptions, bench: Bench, say: Say
) -> list[dict[str, Any]]:
    """The tuned forms trained for some epochs, scored quickly after each; compilation is that of the first process."""
    entries = []
    for arm in arms:
        if arm.name in FRAMEWORK_NAMES and options.quality_epochs:
            config = arm.config(replace(options.config, batch_size=batch_size))
            epochs = []
            with tempfile.TemporaryDirectory() as folder:
                for epoch in bench.train(arm, config, Path(folder), num_epochs=options.quality_epochs):
                    distance = epoch.quality["frechet_distance"]
                    say(f"{arm.name}, batches of {batch_size}, epoch {epoch.epoch}: Fréchet distance {distance:.2f}")
                    epochs.append(epoch)
            entries.append(
                {
                    "arm": arm.name,
                    "batch_size": batch_size,
                    "compile_seconds": epochs[0].compile_seconds,
                    "epochs": [
                        {
                            "epoch": epoch.epoch,
                            "training_seconds": epoch.training_seconds,
                            **{name: epoch.quality[name] for name in ("frechet_distance", "kid", "mnist_score")},
                        }
                        for epoch in epochs
                    ],
                }
            )
    return entries


def compilation_times(arms: Sequence[Arm], bench: Bench, config: TrainConfig) -> dict[str, dict[str, float]]:
    """Of each tuned JAX arm, seconds of the first block beyond a later one: cold, and from the persistent cache."""
    found = {}
    for arm in arms:
        if arm.framework == "jax" and arm.variant == "tuned":
            with tempfile.TemporaryDirectory() as cache:
                cold, cached = (bench.step(arm, config, cache=Path(cache)) for _ in range(2))
            seconds = results.compile_seconds([cold, cached])
            found[arm.name] = dict(zip(("cold_seconds", "from_cache_seconds"), seconds, strict=True))
    return found
