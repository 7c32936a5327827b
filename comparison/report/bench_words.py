"""The benchmark in words: headlines, what must be read with the numbers; speed.md, and a section of the report."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.records.folder import BENCH_FILE, FRAMEWORK_NAMES, read_json, write_atomically, write_json
from common.records.recorded_run import Runs
from comparison.report.bench_figures import FIGURES, draw
from comparison.report.bench_tables import interval_text, tables
from comparison.text import Row, markdown, memory, number, percentage, processor, sources

ROOF_DRIFT = 0.05
# What decides how fast a step is: a benchmark that differs from the runs in one of these says so.
COMPARED = ("preset", "dataset", "image_size", "latent_dim", "batch_size", "generator_updates", "precision")
SHOWN_PACKAGES = ("torch", "jax", "jaxlib", "flax", "optax")
# What the columns mean; wherever the tables go, so do these.
DEFINITIONS = {
    "ms a step": (
        "the median over processes of each process's median block, and quartiles over processes. A block is the "
        "steps of one `train_chunk`. It begins with indices and latents in memory, and ends when all results are "
        "there"
    ),
    "of the best matrix multiply": (
        "the layers' arithmetic over the best matrix multiply of the same run. That is the best of all measured "
        "frameworks, with as many threads and the same precision. The arithmetic is that of direct convolutions. "
        "JAX's tuned form does 9 of 16 multiplications of some of them (docs/decisions/0013). So its share says "
        "how fast the step is, not how busy the processor. It may pass 100 %"
    ),
    "first block": (
        "what the first block takes beyond a later one. That is trace + compile, and whatever else happens once, "
        "like PyTorch's thread pools and choice of kernels"
    ),
    "trace + compile": (
        "what the framework says it spent on tracing, lowering and compiling the training step. Reading it from "
        "its cache counts too. What building the networks compiles is in **build**: most of it, in JAX. What "
        "sampling compiles is in neither"
    ),
    "generating, an image": (
        "what evaluation takes that is a framework's own. The scoring after it is the same NumPy for both"
    ),
    "ratio": (
        "the median over repetitions of the ratio within a repetition, and its 95 % bootstrap interval. There is "
        "one only if four things hold. The first arm against itself gives a narrow interval around 1. The ladder "
        "holds for the tuned forms. The arm's own certificate holds. Its processes took the first ten steps that "
        "were certified"
    ),
    "relative to none": (
        "how many times as long a step takes beside busy programs as beside none, in the same repetition. Each "
        "program has a session of its own"
    ),
    "sameness rests on": (
        "the certificate of each arm. **ladder**: every rung, in float64 and float32. **float64 ladder**: every "
        "rung in float64, of the idiomatic forms. Their float32 shows in their first ten steps. **envelope**: a "
        "form that rounds otherwise, in bfloat16 or by torch.compile. Its outputs, gradients and ten steps are "
        "compared with its float32 twin's. They may be twice as far away as moved last bits of the weights take "
        "that twin"
    ),
    "ahead": (
        "the arm with the shorter step, and from where on it leads a training. An arm that is built and compiled "
        "later has to catch up first. A dash: the ratio's interval contains 1"
    ),
}
# Why a form as the documentation teaches it is slower on a CPU (docs/decisions/0003-convolutions-in-jax.md).
IDIOMATIC_CAUSES = {
    "torch": (
        "What the tuned one gains by: memory layout (channels_last), matrix multiplies for one-pixel convolutions,"
        " Adam in one kernel, and no gradients of D that G's update throws away"
    ),
    "jax": (
        "Most of it is one path of XLA's CPU compiler: kernel gradients of transposed convolutions fall into an "
        "unoptimised loop (jax#31662)"
    ),
}


def headlines(result: Mapping[str, Any]) -> list[str]:
    """What a framework loses in the form that its documentation teaches, and why; then one framework to the other."""
    found = []
    for framework, cause in IDIOMATIC_CAUSES.items():
        if slower := result["ratios"].get(f"{framework}-idiomatic/{framework}"):
            # Where the cause was found; elsewhere it may be another.
            explained = (
                slower["low"] > 1
                and result["machine"]["devices"][framework] == "cpu"
                and result["config"]["precision"] == "float32"
                and result["num_transposed_convolutions"] > 0
            )
            found.append(
                f"A step of {FRAMEWORK_NAMES[framework]} as its documentation teaches it takes {interval_text(slower)} "
                f"times as long as a tuned one{f'. {cause}' if explained else ''}"
            )
    if between := result["ratios"].get("jax/torch"):
        found.append(f"Tuned, a step of JAX takes {interval_text(between)} times as long as PyTorch's")
    return found


def notices(result: Mapping[str, Any]) -> list[str]:
    """What must be read with the numbers: the control, the certificate, the best multiply, and who got no ratio."""
    control, roof = result["control"], result["roof"]
    found = [f"Control: {control['arm']} against itself {interval_text({**control, 'median': control['ratio']})}"]
    if not control["holds"]:
        found.append(
            "The same arm differs from itself: the machine changed while it was measured, so there is no verdict"
        )
    found.append(f"Parity: {result['parity']['reason']}")
    found += [f"No ratio for {name}: {reason}" for name, reason in result["refused"].items()]
    found += [f"Not measured: {text}" for text in result["failed"]]
    best = [f"{number(roof[f'{name}_gflops_per_second'])} GFLOP/s in {name}" for name in ("float32", "bfloat16")]
    found.append(f"Best matrix multiply of the measured frameworks: {' and '.join(best)}")
    if result["quality"]:
        found.append(
            f"Quality is of one run each (seed {result['config']['seed']}), PyTorch's epochs before JAX's, "
            "with one learning rate at every batch size"
        )
    if roof["drift"] > ROOF_DRIFT:
        drift = percentage(roof["drift"])
        found.append(f"The best multiply moved by {drift} from start to end: read shares of it with that in mind")
    return found


def write_report(folder: Path, result: Mapping[str, Any]) -> None:
    """bench.json, speed.md and its figures, in a folder that is made if need be; a comparison's report shows them."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    write_json(folder / BENCH_FILE, result)
    figures = draw(result).files
    for name, content in figures.items():
        write_atomically(folder / "figures" / name, content)
    text = f"{definitions()}\n\n{page(result, [f'figures/{name}' for name in figures])}"
    write_atomically(folder / "speed.md", text.encode())


def read_section(folder: Path, runs: Runs) -> dict[str, Any] | None:
    """What both templates show of a benchmark; None if the folder holds none.

    A file that `bench` cannot have written raises UserError.
    """
    if not (result := read_json(folder / BENCH_FILE)):
        return None
    drawn = draw(result)
    return {
        "headlines": headlines(result),
        "conditions": f"{title(result)}: {conditions(result)}",
        "notices": [*differences(result, runs), *notices(result)],
        "definitions": DEFINITIONS,
        "tables": [(head, [Row(label, "", cells) for label, *cells in body]) for head, *body in tables(result)],
        "figures": {name: FIGURES[name] for name in drawn.files},
        "drawn": drawn,
    }


def differences(result: Mapping[str, Any], runs: Runs) -> list[str]:
    """What the benchmark and the runs do not have in common, though it decides how fast a step is."""
    found = []
    for run in runs.values():
        names = [name for name in COMPARED if result["config"][name] != run.config.get(name)]
        if names:
            found.append(f"Another {', '.join(names)} was benchmarked than {run.name} was trained with")
        if result["machine"]["source_hashes"].get(run.framework) != run.environment.get("source_hash"):
            found.append(f"Other source files were benchmarked than {run.name} was trained with")
    return found


def page(result: Mapping[str, Any], figures: Sequence[str]) -> str:
    """One benchmark of docs/results/speed.md; `figures` are paths as seen from it."""
    sections = [
        f"### {title(result)}",
        "\n".join(f"- **{sentence}.**" for sentence in headlines(result)),
        f"```\n{shlex.join(result['protocol']['command'])}\n```",  # indented, it would belong to the list before it
        conditions(result),
        *map(markdown, tables(result)),
        "\n".join(f"- {sentence}" for sentence in notices(result)),
    ]
    for path in figures:
        caption = next(text for name, text in FIGURES.items() if path.endswith(name))
        sections.append(f"![{caption}]({path})")
    return "\n\n".join(filter(None, sections)) + "\n"


def definitions() -> str:
    """What the columns mean, as a list."""
    return "\n".join(f"- **{name}**: {text}." for name, text in DEFINITIONS.items())


def title(result: Mapping[str, Any]) -> str:
    """`dcgan32-wide, batch 128, float32`."""
    return "{preset}, batch {batch_size}, {precision}".format_map(result["config"])


def conditions(result: Mapping[str, Any]) -> str:
    """On what, with what, and how often was measured."""
    machine, protocol = result["machine"], result["protocol"]
    packages = machine["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages)
    flags = [f"{name}={value}" for name, value in machine["environment_variables"].items()]
    for framework, found in machine["device_flags"].items():
        flags += [f"{framework}: {name}={value}" for name, value in found.items() if value != ""]
    return (
        f"{machine['num_threads']} threads of {machine['num_cpus']} CPUs, device "
        f"{', '.join(dict.fromkeys(machine['devices'].values()))} ({processor(machine)}), "
        f"{memory(machine['memory_bytes'])}; Python {machine['python']}, {versions}; {', '.join(flags)}. "
        f"Sources {sources(machine['source_hashes'])}. {number(result['flops_per_step'] / 1e9)} GFLOP a step. "
        f"{protocol['repetitions']} processes an arm, in each "
        f"{protocol['num_warm_up_blocks'] + 1} blocks of {protocol['steps_per_block']} steps to start and "
        f"{protocol['num_blocks']} that count. Begun {protocol['started_at']}."
    )
