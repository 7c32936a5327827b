"""What `bench` measures, in order, and the one object that its JSON holds."""

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.commands.measure_step import MeasureOptions
from common.config import to_dict
from common.errors import RunFailedError, UserError
from common.networks.build import count_parameters
from common.networks.layers import ConvTranspose
from common.records.folder import FRAMEWORK_NAMES
from common.stages import in_stage
from comparison.bench import verdicts
from comparison.bench.flops import flops_per_step
from comparison.bench.neighbours import beside_neighbours
from comparison.bench.options import Arm, BenchOptions, Subject
from comparison.bench.schedule import Bench, repeat
from comparison.parity.certificate import Certificate
from comparison.parity.find_certificate import Say, certify
from comparison.parity.identity import identity_of
from comparison.processes import Children, config_flags

RUNS = Path("runs")  # whose folder `certificates` keeps them


def measure(
    options: BenchOptions,
    arms: Sequence[Arm],
    batch_sizes: Sequence[int],
    subject: Subject,
    children: Children,
    say: Say,
) -> dict[str, Any]:
    """Everything, one process at a time: roof, certificate, control, arms, what is beside them, the roof again."""
    config, count, architecture = options.config, options.repetitions, subject.architecture
    bench = Bench(children, options, say)
    frameworks = list(dict.fromkeys(arm.framework for arm in arms))
    roofs = {framework: bench.roof(framework) for framework in _in_roof_stage(frameworks)}
    environment = roofs[frameworks[0]]["environment"]
    devices = {framework: found["device"] for framework, found in roofs.items()}
    certificate = find_or_make_certificate(options, subject, roofs, children, say)
    arms, failed = startable(arms, bench)

    say(f"Control: {arms[0].name} against itself")
    control = verdicts.control_result(*repeat([arms[0], arms[0]], count, lambda arm: bench.step(arm, config), say))
    say(f"Arms: {', '.join(arm.name for arm in arms)}")
    repetitions = repeat(arms, count, lambda arm: bench.step(arm, config), say)
    measured = dict(zip((arm.name for arm in arms), repetitions, strict=True))
    beside = measure_beside(arms, batch_sizes, bench)
    roofs_after = {framework: bench.roof(framework)["roof"] for framework in _in_roof_stage(frameworks)}

    found = verdicts.bench_result(
        config,
        flops=flops_per_step(architecture, config),
        roof=verdicts.roof_result({framework: found["roof"] for framework, found in roofs.items()}, roofs_after),
        arms={arm.name: arm for arm in arms},
        measured=measured,
        certificate=verdicts.still_certified(
            certificate, {name: found["environment"] for name, found in roofs.items()}, measured
        ),
        control={"arm": arms[0].name, **control},
    )
    return {
        "config": to_dict(config),
        "num_parameters": count_parameters(architecture),
        "num_images": subject.num_images,
        "num_transposed_convolutions": sum(
            isinstance(layer, ConvTranspose) and layer.stride > 1 for layer in architecture.generator
        ),
        "protocol": protocol(options, environment),
        "machine": machine(environment, devices, roofs, num_threads=options.num_threads),
        **found,
        "refused": found["refused"] | failed,
        **beside,
    }


def _in_roof_stage(frameworks: list[str]) -> Iterator[str]:
    return in_stage(frameworks, "measuring the best matrix multiply", len(frameworks))


def protocol(options: BenchOptions, environment: Mapping[str, Any]) -> dict[str, Any]:
    """How it was measured; with the configuration, enough to do it again."""
    names = ("repetitions", "steps_per_block", "num_blocks", "quality_epochs", "neighbours")
    return {
        "command": ["python", "compare.py", *sys.argv[1:]],
        "started_at": environment["started_at"],
        "num_warm_up_blocks": MeasureOptions.num_warm_up_blocks,
        **{name: getattr(options, name) for name in names},
    }


def machine(
    environment: Mapping[str, Any],
    devices: Mapping[str, str],
    roofs: Mapping[str, Mapping[str, Any]],
    *,
    num_threads: int,
) -> dict[str, Any]:
    """What was measured on, with what."""
    names = ("python", "platform", "packages", "num_cpus", "cpu_model", "cpu_flags", "memory_bytes")
    names += ("environment_variables",)
    return {
        "num_threads": num_threads,
        "devices": dict(devices),
        "device_flags": {framework: found["device_flags"] for framework, found in roofs.items()},
        "source_hashes": {framework: found["environment"]["source_hash"] for framework, found in roofs.items()},
        **{name: environment[name] for name in names},
    }


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


def find_or_make_certificate(
    options: BenchOptions,
    subject: Subject,
    roofs: Mapping[str, Mapping[str, Any]],
    children: Children,
    say: Say,
) -> Certificate:
    """Of both frameworks' tuned forms, also when one alone is measured: the other is taken to run on the same device.

    `roofs` say where each of those that are measured ran. Rungs 8, 9 and 13 of the ladder climb with the idiomatic
    forms too, in float64.
    """
    if not options.certify:
        return Certificate(False, "not certified: --no-certify")
    tuned = replace(options.config, variant="tuned", precision="float32")
    devices: dict[str, str] = {framework: found["device"] for framework, found in roofs.items()}
    elsewhere = next(iter(devices.values()))
    identity = identity_of(
        tuned,
        subject.architecture,
        environment=next(iter(roofs.values()))["environment"],
        num_threads=options.num_threads,
        data_sha256=subject.data_sha256,
        devices=dict.fromkeys(FRAMEWORK_NAMES, elsewhere) | devices,
        device_flags={framework: found["device_flags"] for framework, found in roofs.items()},
    )
    flags = [*config_flags(tuned), *options.device_flags]
    stores = [RUNS, *filter(None, [options.output])]
    certificate = certify(identity, stores, children, say, flags=flags, num_threads=options.num_threads)
    say(f"Parity: {certificate.reason}")
    return certificate


def startable(arms: Sequence[Arm], bench: Bench) -> tuple[list[Arm], dict[str, str]]:
    """Arms without those that torch.compile cannot make here (it needs a C++ compiler), and why not."""
    able, failed = [], {}
    for arm in in_stage(arms, "compiling what can be compiled", len(arms)):
        if arm.compiled:
            try:
                bench.step(arm, bench.options.config)
            except UserError as error:
                bench.say(f"{error}: left out")
                failed[arm.name] = str(error)
                continue
        able.append(arm)
    if not able:
        raise UserError(f"no arm is left: {'; '.join(failed.values())}")
    return able, failed


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
