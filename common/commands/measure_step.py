"""`measure`: one framework's step, timed phase by phase in a fresh process; `compare.py bench` starts many of these.

No number of it is worth anything by itself: machines drift, so arms are compared within a repetition only.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from common.commands.dispatch import Twin
from common.contract import StepMetrics, Trainer
from common.data.datasets import load_dataset, prepare_dataset
from common.data.initial_weights import initial_weights
from common.data.randomness import epoch_permutation, fixed_latents
from common.errors import UserError
from common.networks.build import build_architecture
from common.options import DeviceOptions, check_result_file
from common.records.accelerator import describe_accelerator, flags_on
from common.records.environment import describe_environment, source_hash
from common.records.folder import json_bytes, write_atomically
from common.safe_read import one_line
from common.stages import in_stage
from common.training.chunk_data import ChunkData, chunk_data
from common.training.log import CHUNK_STEPS

if TYPE_CHECKING:
    from common.contract import Framework


NUM_GENERATED = 500
NUM_FIRST_STEPS = 10  # by which a certificate knows what it certified; later, rounding parts any two runs
ROOF_SIZES, GPU_ROOF_SIZES = (512, 1024, 2048), (1024, 2048, 4096, 8192)
ROOF_PRECISIONS, GPU_ROOF_PRECISIONS = ("float32", "bfloat16"), ("float32", "tf32", "bfloat16", "float64")
NUM_ROOF_WARM_UPS, NUM_ROOF_TRIALS = 2, 10
NUM_GPU_PRODUCTS = 20  # between two waits, which take as long as a small product
# On a GPU a block is many chunks, and the clock has risen before any counts.
MIN_GPU_BLOCK_SECONDS, GPU_WARM_UP_SECONDS = 0.5, 2.0
# A processor without bfloat16 multiplies it a thousand times slower: one trial is enough, no larger matrix is tried.
SLOW_ROOF_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(DeviceOptions):
    """Time one framework's training step, phase by phase, for compare.py bench."""

    json: Annotated[Path, tyro.conf.arg(metavar="FILE")] = tyro.MISSING
    """Where the measurements go."""
    steps_per_block: int = CHUNK_STEPS
    """Steps of one block. It is one `train_chunk`, which ends with the one wait for all of its results."""
    num_warm_up_blocks: int = 2
    """Blocks to warm up, after the first. The first compiles. None of these is counted."""
    num_blocks: int = 3
    """Blocks that are counted."""
    compile: bool = False
    """Compile the networks by torch.compile. JAX compiles anyhow."""
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    """torch.compile's."""
    tf32: bool = False
    """On a GPU, have tensor cores multiply in TF32 what is float32."""
    profile: bool = False
    """Count a block's operations and launches as well, when all has been timed."""
    roof: bool = False
    """Time matrix multiplications instead. They show what the processor can do at best."""


def main(options: MeasureOptions, twin: Twin) -> int:
    """Measure what the flags ask for; returns the exit code 0."""
    check_result_file(options.json)
    clock = Clock()
    try:
        implementation = twin.load_framework()
    except ImportError as error:
        raise UserError(f"the framework is not installed ({error}): leave its arms out, or install it") from None
    flags = implementation.configure(
        num_threads=options.num_threads, deterministic=options.deterministic, tf32=options.tf32
    )
    device = implementation.select_device(options.device)
    execution = implementation.choose_execution(options.wanted_execution, device)
    import_seconds = clock.lap()
    if options.roof:
        found: dict[str, Any] = {"roof": roof(implementation, device)}
    else:
        found = {"import_seconds": import_seconds, **step_times(implementation, device, options, clock, execution)}
    record = {
        **found,
        "device": implementation.device_name(device),
        "device_flags": flags_on(implementation.device_name(device), flags),
        "accelerator": describe_accelerator(implementation.device_name(device)),
        "execution": execution,
        "environment": {"source_hash": source_hash(twin.name), **describe_environment()},
    }
    write_atomically(options.json, json_bytes(record, indent=1))
    return 0


class Clock:
    """Wall time by `perf_counter`; the caller waits for the device before each lap."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the start."""
        now = time.perf_counter()
        seconds, self._started = now - self._started, now
        return seconds


def step_times(
    implementation: "Framework", device: Any, options: MeasureOptions, clock: Clock, execution: str
) -> dict[str, Any]:
    """Every phase of training, and losses and scores of the first steps, by which a certificate knows the program."""
    config, count = options.config, options.steps_per_block
    dataset = load_dataset(config.dataset, options.data_dir, train_size=config.train_size, image_size=config.image_size)
    dataset = prepare_dataset(dataset, image_size=config.image_size, train_size=config.train_size)
    order = epoch_permutation(config.seed, 0, len(dataset.train_images))
    data_loading_seconds = clock.lap()

    architecture = build_architecture(config, image_channels=dataset.image_channels)
    compiled = implementation.create_compiled_trainer if options.compile else None
    given = config, architecture, device, dataset.train_images, execution
    trainer = compiled(*given, options.compile_mode) if compiled else implementation.create_trainer(*given)
    trainer.load_weights(initial_weights(config, architecture))
    trainer.wait()
    build_seconds = clock.lap()

    first_counted = 1 + options.num_warm_up_blocks
    steps_per_epoch = len(order) // config.batch_size
    data, blocks, measured, chunks = [], [], [], []
    stop_watching = implementation.watch_compilation()
    compile_seconds = 0.0
    num_blocks, num_chunks = first_counted + options.num_blocks, 1
    on_cpu, step = implementation.device_name(device) == "cpu", 0
    for index in in_stage(range(num_blocks), "timing blocks of steps", num_blocks):
        clock.lap()
        chunks = []
        for _ in range(num_chunks):
            start = step % (steps_per_epoch - count + 1)
            chunks.append(chunk_data(config, order, start, count, first_step=step))
            step += count
        data.append(clock.lap() / count / num_chunks)
        metrics = [_chunk(trainer, chunk, compiled=options.compile) for chunk in chunks]
        blocks.append(clock.lap() / count / num_chunks)
        measured += metrics
        if index == 0:
            compile_seconds = stop_watching()
        if index == first_counted - 1:
            if not on_cpu:
                _warm_up(trainer, chunks[-1], GPU_WARM_UP_SECONDS)
                num_chunks = max(1, math.ceil(MIN_GPU_BLOCK_SECONDS / (count * blocks[-1])))
            stop_watching = implementation.watch_compilation()
    recompile_seconds = stop_watching()
    peak_memory = implementation.peak_memory(device)  # of training: sampling comes after
    profile = None
    if options.profile:
        profile = implementation.profile(lambda: _warm_up(trainer, chunks[-1], 0.0), count)
    latents = fixed_latents(config.seed, num=NUM_GENERATED, latent_dim=config.latent_dim)
    trainer.generate(latents)
    clock.lap()
    trainer.generate(latents)
    return {
        "generate_seconds_per_image": clock.lap() / NUM_GENERATED,
        "data_loading_seconds": data_loading_seconds,
        "build_seconds": build_seconds,
        "compile_seconds": compile_seconds,
        "recompile_seconds": recompile_seconds,  # in blocks that count, where nothing should be
        "profile": profile,
        "first_block_seconds": count * blocks[0],
        "warm_up_seconds": count * sum(blocks[1:first_counted]),
        "steps_per_block": count,
        "block_seconds_per_step": blocks[first_counted:],
        "data_seconds_per_step": float(np.median(data[first_counted:])),
        **peak_memory,
        "first_steps": {
            name: _finite(np.concatenate([getattr(of_block, name) for of_block in measured])[:NUM_FIRST_STEPS])
            for name in StepMetrics._fields
        },
    }


def _warm_up(trainer: Trainer, chunk: ChunkData, seconds: float) -> None:
    """The same chunk until so long has passed, and at least once."""
    started = time.perf_counter()
    while True:
        trainer.train_chunk(*chunk)
        trainer.wait()
        if time.perf_counter() - started >= seconds:
            return


def _chunk(trainer: Trainer, chunk: ChunkData, *, compiled: bool) -> StepMetrics:
    try:
        metrics = trainer.train_chunk(*chunk)
    except Exception as error:
        if not compiled:
            raise
        reason = (
            f"the networks cannot be compiled here ({type(error).__name__}: {one_line(error)}); "
            "torch.compile needs a C++ compiler"
        )
        raise UserError(reason) from error
    trainer.wait()
    return metrics


def _finite(values: np.ndarray) -> list[float | None]:
    """JSON knows no NaN."""
    return [float(value) if math.isfinite(value) else None for value in values]


def roof(implementation: "Framework", device: Any) -> dict[str, dict[str, float]]:
    """The best of some runs of a square matrix multiplication: GFLOP/s by precision and size, up to a slow one."""
    on_cpu = implementation.device_name(device) == "cpu"
    times, all_sizes = (1, ROOF_SIZES) if on_cpu else (NUM_GPU_PRODUCTS, GPU_ROOF_SIZES)
    found: dict[str, dict[str, float]] = {p: {} for p in (ROOF_PRECISIONS if on_cpu else GPU_ROOF_PRECISIONS)}
    for precision, sizes in found.items():
        for size in all_sizes:
            multiply = implementation.matrix_multiplication(device, size, precision)
            multiply()  # which may compile
            clock = Clock()
            multiply(times)
            is_slow = (best := clock.lap()) > SLOW_ROOF_SECONDS
            if not is_slow:
                for _ in range(NUM_ROOF_WARM_UPS):
                    multiply(times)
                clock = Clock()
                best = min((multiply(times), clock.lap())[1] for _ in range(NUM_ROOF_TRIALS))
            sizes[str(size)] = 2 * size**3 * times / best / 1e9
            if is_slow:
                break
    return found
