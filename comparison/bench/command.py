"""`python compare.py bench`: time both frameworks' steps so that nobody can call it unfair."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.architectures import build_architecture, count_parameters
from common.config import TrainConfig, to_dict
from common.data import load_dataset, prepare_dataset
from common.environment import default_num_threads
from common.errors import UserError
from common.layers import Architecture
from common.options import ConfigOptions, check_result_file, check_threads, parse
from common.records import FRAMEWORK_NAMES, write_atomically
from comparison.bench import results
from comparison.bench.arms import Arm, parse_arms
from comparison.bench.certificates import certify
from comparison.bench.flops import flops_per_step
from comparison.bench.protocol import Bench, repeat
from comparison.bench.report import arm_rows, notices, ratio_rows, write_report
from comparison.runs import Children, check_writable

PROGRAM = "python compare.py bench"
DESCRIPTION = (
    "Time a training step in both frameworks: fresh processes that take turns, a control against itself first, "
    "intervals of ratios, the processor's measured roof, and no ratio without a parity certificate."
)
DEFAULT_ARMS = "torch,jax,torch-idiomatic,jax-idiomatic,torch-compile"
MIN_REPETITIONS = 5
TABLE_WIDTH = 120

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ConfigOptions):
    """What is timed, how often, and where the result goes."""

    arms: str = DEFAULT_ARMS
    """Which forms, comma-separated; NAME-bfloat16 is that form in bfloat16, whatever --precision is."""
    batch_sizes: str = ""
    """Batch sizes to time the tuned forms at as well, comma-separated: 32,64,128,256."""
    quality_epochs: int = 0
    """Train the tuned forms for so many epochs too, at every batch size: what quality costs in time."""
    repetitions: int = 6
    """Fresh processes of each arm; an even number gives each arm each place in turn equally often."""
    steps_per_block: int = 4
    """Steps between two readings of the clock."""
    num_blocks: int = 6
    """Blocks a process counts, after one that compiles and two to warm up."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes an accelerator if the framework finds one."""
    threads: int = 0
    """CPU threads of each framework; 0 is every core this process may use."""
    data_dir: Path | None = None
    """Folder of prepared TFDS datasets, holding NAME/VERSION/."""
    certify: bool = True
    """Climb the quick parity ladder first, unless this configuration has a certificate; no ratio without."""
    json: Path | None = None
    """Where to write the result."""
    output: Path | None = None
    """Folder for speed.md and its figures."""

    @property
    def num_threads(self) -> int:
        """The number of CPU threads, resolved."""
        return self.threads or default_num_threads()

    @property
    def place(self) -> list[str]:
        """Where it runs, on what data, as flags."""
        data = [] if self.data_dir is None else [f"--data-dir={self.data_dir}"]
        return [f"--device={self.device}", f"--threads={self.num_threads}", *data]


def bench(arguments: Sequence[str]) -> int:
    """0 if there is a verdict, 1 if the first arm was not even as fast as itself."""
    options = parse(BenchOptions, arguments, program=PROGRAM, description=DESCRIPTION)
    arms = parse_arms(options.arms, precision=options.config.precision)
    batch_sizes = parse_batch_sizes(options.batch_sizes)
    architecture = check(options, batch_sizes)
    console = Console()

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    with Children() as children:
        result = measure(options, arms, batch_sizes, architecture, children, say)
    if options.json is not None:
        write_atomically(options.json, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
    if options.output is not None:
        write_report(options.output, result)
    print_result(result, console)
    return 0 if result["control"]["holds"] else 1


def parse_batch_sizes(text: str) -> list[int]:
    """Whole numbers above 0, or UserError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--batch-sizes {text}: pass whole numbers above 0, like 32,64,128,256")
    return [int(part) for part in parts]


def check(options: BenchOptions, batch_sizes: Sequence[int]) -> Architecture:
    """Raise UserError for whatever can be known to be wrong before an hour of measuring; the networks otherwise."""
    config = options.config
    check_threads(options.threads)
    check_result_file(options.json)
    if options.repetitions < MIN_REPETITIONS:
        raise UserError(f"--repetitions is {options.repetitions}: pass at least {MIN_REPETITIONS}")
    if min(options.steps_per_block, options.num_blocks) < 1 or options.quality_epochs < 0:
        raise UserError("--steps-per-block and --num-blocks must be at least 1, --quality-epochs at least 0")
    dataset = load_dataset(config.dataset, options.data_dir, train_size=config.train_size)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    for batch_size in (config.batch_size, *batch_sizes):
        needed, there = batch_size * options.steps_per_block, len(dataset.train_images)
        if needed > there:
            raise UserError(
                f"a block of {options.steps_per_block} batches of {batch_size} needs {needed} images, "
                f"there are {there}: "
                "pass smaller --batch-sizes, fewer --steps-per-block, or a larger --train-size"
            )
    if options.output is not None:
        check_writable(options.output)
    return build_architecture(config, image_channels=dataset.image_channels)


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
    length = [f"--steps-per-block={options.steps_per_block}", f"--num-blocks={options.num_blocks}"]
    bench = Bench(children, num_threads=options.num_threads, place=options.place, length=length)
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
    measured = dict(zip((arm.name for arm in arms), repetitions, strict=True))
    sweep = [entry for batch_size in batch_sizes for entry in at_batch_size(batch_size, arms, options, bench, say)]
    quality = [
        entry
        for batch_size in dict.fromkeys((config.batch_size, *batch_sizes))
        for entry in quality_over_time(batch_size, arms, options, bench, say)
    ]
    compilation = compilation_times(arms, bench, config)
    roofs_after = {framework: bench.roof(framework)["roof"] for framework in frameworks}

    roof = results.roof_result({framework: found["roof"] for framework, found in roofs.items()}, roofs_after)
    by_name = {arm.name: arm for arm in arms}
    verdicts = results.verdicts(by_name, measured, certificate, control)
    flops = flops_per_step(architecture, config)
    best = {precision: roof[f"{precision}_gflops_per_second"] for precision in ("float32", "bfloat16")}
    return {
        "config": to_dict(config),
        "num_parameters": count_parameters(architecture),
        "flops_per_step": flops,
        "machine": {
            "num_threads": options.num_threads,
            "devices": devices,
            **{name: environment[name] for name in ("python", "platform", "packages", "num_cpus", "cpu_flags")},
            **{name: environment[name] for name in ("memory_bytes", "environment_variables", "source_hash")},
            "started_at": environment["started_at"],
        },
        "roof": roof,
        "control": {"arm": arms[0].name, **control},
        "parity": {"holds": certificate.holds, "reason": certificate.reason},
        "arms": {
            name: results.arm_result(by_name[name], records, flops=flops, batch_size=config.batch_size, roofs=best)
            for name, records in measured.items()
        },
        **verdicts,
        "refused": verdicts["refused"] | failed,
        "batch_sizes": sweep,
        "quality": quality,
        "compilation": compilation,
    }


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


def print_result(result: Mapping[str, Any], console: Console) -> None:
    """The arms, the ratios, and what must be read with them."""
    wide = Console(width=max(console.width, TABLE_WIDTH))
    for head, *rows in (arm_rows(result), ratio_rows(result)):
        table = Table(*head)
        for row in rows:
            table.add_row(*map(Text, row))
        if rows:
            wide.print(table)
    for sentence in notices(result):
        console.print(Text(sentence), soft_wrap=True)
