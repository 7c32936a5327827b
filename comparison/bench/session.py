"""What `bench` measures, in order, and the one object that its JSON holds."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.commands.measure_step import MeasureOptions
from common.config import to_dict
from common.errors import UserError
from common.networks.build import count_parameters
from common.networks.layers import ConvTranspose
from common.stages import in_stage
from comparison.bench import verdicts
from comparison.bench.beside import measure_beside
from comparison.bench.certificates import find_or_make_certificates
from comparison.bench.flops import flops_per_step
from comparison.bench.options import BenchOptions, Subject
from comparison.bench.schedule import Bench, repeat
from comparison.parity.arms import Arm
from comparison.parity.certificate import Certificate
from comparison.parity.find_certificate import Say
from comparison.processes import Children


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
    arms, failed = startable(arms, bench)
    ladder, certificates = find_or_make_certificates(options, arms, subject, roofs, children, say)

    say(f"Control: {arms[0].name} against itself")
    control = verdicts.control_result(*repeat([arms[0], arms[0]], count, lambda arm: bench.step(arm, config), say))
    say(f"Arms: {', '.join(arm.name for arm in arms)}")
    repetitions = repeat(arms, count, lambda arm: bench.step(arm, config), say)
    measured = dict(zip((arm.name for arm in arms), repetitions, strict=True))
    beside = measure_beside(arms, batch_sizes, bench)
    if changed := verdicts.what_changed({name: found["environment"] for name, found in roofs.items()}, measured):
        ladder = Certificate(False, changed)
        certificates = {name: each._replace(holds=False, reason=changed) for name, each in certificates.items()}
    roofs_after = {framework: bench.roof(framework)["roof"] for framework in _in_roof_stage(frameworks)}

    found = verdicts.bench_result(
        config,
        flops=flops_per_step(architecture, config),
        roof=verdicts.roof_result({framework: found["roof"] for framework, found in roofs.items()}, roofs_after),
        arms={arm.name: arm for arm in arms},
        measured=measured,
        ladder=ladder,
        certificates=certificates,
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
    names += ("environment_variables", "commit")
    return {
        "num_threads": num_threads,
        "devices": dict(devices),
        "device_flags": {framework: found["device_flags"] for framework, found in roofs.items()},
        "source_hashes": {framework: found["environment"]["source_hash"] for framework, found in roofs.items()},
        **{name: environment[name] for name in names},
    }


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
