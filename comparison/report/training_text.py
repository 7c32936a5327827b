"""A comparison's numbers as the text of tables, shared by report.html, report.md and the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.evaluation import plausibility
from common.records.folder import STATUS_FILE, read_json
from common.records.recorded_run import FRAMEWORK_NAMES, Runs
from common.records.schema import Timings
from comparison.bench.statistics import COVERAGE
from comparison.report.summary import hardware_differences
from comparison.text import NOTHING, Row, difference, duration, memory, number, percentage, processor

HOW_IT_ENDED = {"interrupted": "was interrupted", "failed": "failed", "running": "ended without a word"}
SHOWN_PACKAGES = {"torch": ("torch",), "jax": ("jax", "flax")}


def speed_rows(frameworks: Mapping[str, Any]) -> list[Row]:
    """Speed, time and memory of each framework: the headline table without quality."""

    def rate(speed: Mapping[str, float] | None) -> str:
        return f"{number(speed['median'])} ({number(speed['low'])}-{number(speed['high'])})" if speed else NOTHING

    chunk_sizes = {framework["chunk_size"] for framework in frameworks.values()} - {None}
    chunk = f"chunks of {chunk_sizes.pop()} steps" if len(chunk_sizes) == 1 else "chunks"
    kinds = {framework.get("peak_memory_kind") for framework in frameworks.values()}
    whose = "of the framework's allocator on the GPU" if "allocator" in kinds else "of the process"
    rows = (
        ("Steady images/s", f"median (range) over {chunk}", "steady_images_per_second", rate),
        ("Time per epoch", "at that median", "seconds_per_epoch", duration),
        ("First chunk", "with compilation", "first_chunk_seconds", duration),
        ("Preparing data", "batches and latents, whole run", "data_seconds", duration),
        ("Loop overhead", "wall time outside training steps, files included", "loop_overhead_fraction", percentage),
        ("Peak memory", whose, "peak_memory_bytes", memory),
    )
    return [Row(label, note, [text(f[name]) for f in frameworks.values()]) for label, note, name, text in rows]


def phase_rows(frameworks: Mapping[str, Any]) -> list[Row]:
    """Seconds of each phase of a run, from import to scoring."""
    return [
        Row(field.title, field.description or "", [duration(framework[name]) for framework in frameworks.values()])
        for name, field in Timings.model_fields.items()
        if field.title
    ]


def last_epoch_rows(frameworks: Mapping[str, Any]) -> list[Row]:
    """Mean losses and discriminator scores over the last recorded epoch."""
    titles = {
        "discriminator_loss": "Discriminator loss",
        "generator_loss": "Generator loss",
        "real_score": "D(x)",
        "fake_score": "D(G(z))",
    }
    means = [framework["last_epoch_means"] or {} for framework in frameworks.values()]
    return [Row(title, "", [number(each.get(name)) for each in means]) for name, title in titles.items()]


def difference_rows(agreement: Mapping[str, Any]) -> list[Row]:
    """Relative difference of both losses at some early steps."""
    steps = next(iter(agreement.values()))["at_step"]
    return [
        Row(f"Step {step}", "", [difference(loss["at_step"][step]) for loss in agreement.values()]) for step in steps
    ]


def framework_columns(frameworks: Mapping[str, Any]) -> list[str]:
    """Column headings: the frameworks' names as a reader knows them."""
    return [FRAMEWORK_NAMES[name] for name in frameworks]


def notices(runs: Runs, comparison_dir: Path) -> list[str]:
    """What is missing or odd; empty for two finished and scored runs under equal conditions."""
    sentences = []
    for framework, name in FRAMEWORK_NAMES.items():
        run = runs.get(framework)
        status = run.status if run else read_json(comparison_dir / framework / STATUS_FILE)
        message = f": {status['message']}" if status.get("message") else ""
        if status.get("status") in HOW_IT_ENDED:
            how = HOW_IT_ENDED[status["status"]]
            sentences.append(f"{name} {how} at step {status['step']:,} in epoch {status['epoch']}{message}")
        if run is None:
            sentences.append(f"{name} is missing: {comparison_dir.name}/{framework} holds no run")
        elif not run.evaluation:
            sentences.append(f"The samples of {name} were not scored")
    for run in runs.values():
        if step := run.timing.get("resumed_at_step"):
            sentences.append(f"{run.name} was resumed at step {step:,}; its times are of the part after it")
    if differing := hardware_differences(runs):
        sentences.append(f"The two runs were not made under equal conditions; different: {', '.join(differing)}")
    return sentences


def too_few_steps(runs: Runs, real_images: np.ndarray) -> list[str]:
    """A sentence on each run whose last sample grid is still grey, unlike the real images, after few steps."""
    sentences = []
    for run in runs.values():
        if len(run.progress.images) and run.num_steps:
            per_epoch = run.epochs[0].step if run.epochs else None
            grid = run.progress.images[-1]
            found = plausibility.too_few_steps(grid, real_images, step=run.num_steps, steps_per_epoch=per_epoch)
            sentences += [f"{run.name}: {found.rstrip('.')}"] if found else []
    return sentences


def title(results: Mapping[str, Any]) -> str:
    """What was compared, as a heading."""
    config = results["config"]
    epochs = f"{config['epochs']} epoch{'s' if config['epochs'] != 1 else ''}"
    return f"DCGAN in PyTorch and JAX: {config['preset']} on {config['dataset']}, {epochs}"


def subtitle(results: Mapping[str, Any], runs: Runs) -> str:
    """Sizes of the training set and the networks, and what the two runs share."""
    config = results["config"]
    num_images = [run.epochs[0].num_images for run in runs.values() if run.epochs]
    size = config["image_size"]
    networks = next(iter(runs.values())).environment["num_parameters"]
    counts = ", ".join(f"{network} {count:,} parameters" for network, count in networks.items())
    images = f"{number(num_images[0])} images" if num_images else "Images"
    return (
        f"{images} of {size} x {size} pixels an epoch; {counts}. "
        "Both frameworks start from the same weights and are fed the same batches and latents."
    )


def conditions(results: Mapping[str, Any]) -> str:
    """Versions, hardware, n and what the clock excludes: what makes the headline table honest."""
    environments, config = results["environment"], results["config"]
    frameworks = {name: results["frameworks"][name] for name in environments}
    first = next(iter(environments.values()))
    chunks = " and ".join(dict.fromkeys(number(framework["num_steady_chunks"]) for framework in frameworks.values()))
    steps = " and ".join(dict.fromkeys(number(framework["num_steps"]) for framework in frameworks.values()))
    return (
        f"One run each (n = 1, seed {config['seed']}), {_order(results)}, of {steps} steps at batch size "
        f"{config['batch_size']} in {config['precision']}, variant {config['variant']}. "
        f"Versions: {', '.join(versions(environments))}, Python {first['python']}. Machine: {machine(first)}. "
        f"Speed counts training steps only: it is the median over {chunks} chunks of steps. "
        "Imports, data, building the networks, the first chunk with its compilation, sample grids and scoring are "
        "not in it."
    )


def versions(environments: Mapping[str, Any]) -> list[str]:
    """Each framework's own packages, like `torch 2.14.1`."""
    return [
        f"{package} {environment['packages'].get(package)}"
        for framework, environment in environments.items()
        for package in SHOWN_PACKAGES[framework]
    ]


def machine(environment: Mapping[str, Any]) -> str:
    """Device, threads, processor and memory in one phrase."""
    threads = f"{environment['num_threads']} thread{'s' if environment['num_threads'] != 1 else ''}"
    return (
        f"device {environment['device']}, {threads} on {environment['num_cpus']} CPUs "
        f"({processor(environment)}; {memory(environment['memory_bytes'])} memory)"
    )


def _order(results: Mapping[str, Any]) -> str:
    """Who trained when."""
    num_rounds = len(results.get("paired_images_per_second", ()))
    return f"in turns, {num_rounds} epoch{'s'[: num_rounds > 1]} each" if num_rounds else "one after the other"


def ratio(results: Mapping[str, Any]) -> str:
    """The speed ratio with its interval and how it was measured, or why none is printed."""
    claim = ratio_claim(results)
    if results["why_no_ratio"]:
        return claim
    if results["images_per_second_ratio"]["torch/jax"].get("num_rounds", 0):  # older comparisons have none
        return f"{claim} In each round both trained one epoch, in turn. The ratio is the median of those within rounds."
    num_paired = len(results.get("paired_images_per_second", ()))
    why = "They took turns for one epoch alone" if num_paired else "One ran after the other"
    return (
        f"{claim} {why}, so what the machine did meanwhile is in it. "
        "A ratio to cite comes from the benchmark (`python compare.py bench`)."
    )


def ratio_claim(results: Mapping[str, Any]) -> str:
    """The speed ratio in one sentence, the faster framework first, or why none is printed."""
    if results["why_no_ratio"]:
        return f"No speed ratio is printed because {results['why_no_ratio']}."
    measured = results["images_per_second_ratio"]["torch/jax"]
    median, low, high = (measured[name] for name in ("median", "low", "high"))
    names = ["PyTorch", "JAX"]
    if median < 1:
        (median, low, high), names = (1 / median, 1 / high, 1 / low), names[::-1]
    num_rounds = measured.get("num_rounds", 0)
    span = f"{100 * COVERAGE:.0f} % interval {number(low)} to {number(high)}, n = {num_rounds} rounds"
    certainty = span if num_rounds else "ratio of the medians, n = 1 run each, no interval"
    return f"{names[0]} trains {number(median)} times as many images per second as {names[1]} ({certainty})."


def band_words(num_steps: int) -> str:
    """How to read the curves of losses and scores; `num_steps` are those that one point stands for."""
    if num_steps == 1:
        return "Every step is shown. Where the two coincide, the dashes of one show on the line of the other."
    return (
        f"Line: the median of {num_steps} steps. Band: nine of ten of them. "
        "Where the two coincide, the dashes of one show on the line of the other."
    )


def parting(agreement: Mapping[str, Any]) -> str:
    """The steps at which the two runs part."""
    phrases = []
    for column, loss in agreement.items():
        step, name = loss["first_step_above_1_percent"], column.replace("_", " ")
        where = f"at step {step:,}" if step else f"at none of the {loss['num_steps']:,} steps"
        phrases.append(f"the {name} first differs by more than 1 % {where}")
    sentence = "; ".join(phrases)
    return f"{sentence[0].upper()}{sentence[1:]}."


def first_steps(agreement: Mapping[str, Any]) -> str:
    """Agreement before rounding has had time to grow."""
    phrases = [
        f"Of the {column.replace('_', ' ')} the relative difference is {difference(loss['first_step'])} at step 1, and "
        f"at most {difference(loss['largest_of_first_10_steps'])} over the first 10 steps."
        for column, loss in agreement.items()
    ]
    return " ".join(phrases)


def why_runs_part(config: Mapping[str, Any]) -> str:
    """How to read the figure of differences."""
    return (
        f"Each framework adds up in its own order, so {config['precision']} rounding differs from the first "
        "step on. Training amplifies any difference until the two runs are independent samples of one process. "
        "Growth from the level of rounding is therefore expected and no sign of a bug. A bug would "
        "show as a difference far above rounding within the first steps."
    )


def sampling(config: Mapping[str, Any]) -> str:
    """Which weights the samples come from."""
    weights = "the weights of the last step"
    if decay := config["generator_average"]:
        weights = f"an average of the generator's weights over its last steps (decay {decay} a step)"
    return f"Samples come from {weights}, in eval mode. So do those that are scored."
