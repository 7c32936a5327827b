"""The benchmark's tables, as rows of cells: a heading, then one row an arm, a ratio, an epoch, a batch size.

None has more than six columns, since they are read on phones.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.records.folder import FRAMEWORK_NAMES
from comparison.bench.verdicts import CACHES
from comparison.report.bench_figures import PHASES
from comparison.text import NOTHING, duration, memory, number, percentage

Result = Mapping[str, Any]
Table = list[Sequence[str]]
# Which ratios are shown, if both arms are there: every one is in the JSON.
SHOWN_RATIOS = (
    ("torch", "torch-idiomatic"),
    ("torch-compile", "torch"),
    ("jax", "jax-idiomatic"),
    ("jax", "torch"),
    ("jax-idiomatic", "torch-idiomatic"),
    ("torch-bfloat16", "torch"),
    ("jax-bfloat16", "jax"),
    ("jax-bfloat16", "torch-bfloat16"),
)


def tables(result: Result) -> list[Table]:
    """Every table of a benchmark that has rows."""
    rates = (arm_rows, ratio_rows, certificate_rows)
    kinds = (*rates, phase_rows, beside_rows, compilation_rows, neighbour_rows, batch_size_rows, quality_rows)
    return [rows for kind in kinds if len(rows := kind(result)) > 1]


def arm_rows(result: Result) -> Table:
    """What a step of each arm takes."""
    columns = {
        "ms a step (quartiles)": lambda arm: _quartiles(arm["milliseconds_per_step"]),
        "images/s": lambda arm: number(arm["images_per_second"]),
        "s an epoch": lambda arm: number(_images(result, result["config"]["batch_size"]) / arm["images_per_second"]),
        "of the best matrix multiply": lambda arm: percentage(arm["fraction_of_roof"]),
        "peak memory": lambda arm: memory(arm["peak_memory_bytes"]),
    }
    return _by_arm(result, columns, result["arms"])


def phase_rows(result: Result) -> Table:
    """What comes before the steady state."""
    return _durations(
        result,
        {**{title: name for name, title in PHASES.items()}, "trace + compile in the first block": "compile_seconds"},
    )


def beside_rows(result: Result) -> Table:
    """What is beside the steady state."""
    return _durations(
        result,
        {
            "warm-up": "warm_up_seconds",
            "gathering data, a step (not in ms a step)": "data_seconds_per_step",
            "generating, an image": "generate_seconds_per_image",
        },
    )


def _durations(result: Result, fields: Mapping[str, str]) -> Table:
    columns = {title: lambda arm, name=name: duration(arm[name]) for title, name in fields.items()}
    return _by_arm(result, columns, result["arms"])


def ratio_rows(result: Result) -> Table:
    """Ratios of step times, and who is ahead from which step on."""
    rows: Table = [("step time of", "relative to", "ratio (95 % interval)", "sameness rests on", "ahead")]
    for first, second in SHOWN_RATIOS:
        if found := result["ratios"].get(f"{first}/{second}"):
            titles = [result["arms"][name]["title"] for name in (first, second)]
            words = dict.fromkeys(_rests_on(result, name) for name in (first, second))
            rows.append((*titles, interval_text(found), ", ".join(words), _ahead(result, first, second)))
    return rows


def certificate_rows(result: Result) -> Table:
    """What shows that each arm does the same work."""
    columns = {
        "certificate": lambda found: found["kind"],
        "measurements": lambda found: number(found["num_measurements"]),
        "largest share of what is allowed": lambda found: percentage(found["worst_ratio"]),
        "of": lambda found: found["worst"] or NOTHING,
        "verdict": lambda found: "holds" if found["holds"] else f"**does not hold**: {found['reason']}",
    }
    return _by_arm(result, columns, result.get("certificates", {}))


def quality_rows(result: Result) -> Table:
    """After each epoch: seconds of training so far, and the quick score; below, what real digits score."""
    rows: Table = [
        ("batch size", "arm", "epoch", "s of training so far", "+ first chunk's extra", "Fréchet distance, N = 2,000")
    ]
    entries = sorted(result["quality"], key=lambda entry: entry["batch_size"])
    for entry in entries:
        total = 0.0
        for epoch in entry["epochs"]:
            total += epoch["training_seconds"]
            measured = (total, total + entry["first_chunk_extra_seconds"], epoch["frechet_distance"])
            title = result["arms"][entry["arm"]]["title"]
            rows.append((str(entry["batch_size"]), title, str(epoch["epoch"]), *map(number, measured)))
    rows += [("", "real digits", "", "", "", floor) for floor in dict.fromkeys(number(e["floor"]) for e in entries)]
    return rows


def compilation_rows(result: Result) -> Table:
    """JAX's persistent cache: what it saves, and what the step that comes from it takes. One process each."""
    rows: Table = [("arm", "cache", "trace + compile", "first block", "ms a step")]
    for name, found in result["compilation"].items():
        for cache in CACHES:
            seconds = (found[f"{cache}_compile_seconds"], found[f"{cache}_first_block_extra_seconds"])
            measured = (*map(duration, seconds), number(found[f"{cache}_milliseconds_per_step"]))
            rows.append((result["arms"][name]["title"], cache.removesuffix("_cache"), *measured))
    return rows


def neighbour_rows(result: Result) -> Table:
    """What busy programs cost."""
    rows: Table = [("busy programs beside", "arm", "ms a step (quartiles)", "relative to none (95 % interval)")]
    for entry in result.get("neighbours", []):
        title = result["arms"][entry["arm"]]["title"]
        measured = _quartiles(entry["milliseconds_per_step"]), interval_text(entry["slowdown"])
        rows.append((str(entry["num_neighbours"]), title, *measured))
    return rows


def batch_size_rows(result: Result) -> Table:
    """No ratios: each size would need a certificate of its own."""
    rows: Table = [("batch size", "arm", "ms a step", "images/s", "s an epoch")]
    for entry in result["batch_sizes"]:
        size, speed = entry["batch_size"], entry["images_per_second"]
        measured = (entry["milliseconds_per_step"]["median"], speed, _images(result, size) / speed)
        rows.append((str(size), result["arms"][entry["arm"]]["title"], *map(number, measured)))
    return rows


def interval_text(found: Mapping[str, float]) -> str:
    """`0.67 (0.64 to 0.70)`."""
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _by_arm(result: Result, columns: Mapping[str, Callable[[Any], str]], measured: Mapping[str, Any]) -> Table:
    """One row for each arm that was measured, under its title."""
    cells = {name: [cell(found) for cell in columns.values()] for name, found in measured.items()}
    return [("arm", *columns), *((result["arms"][name]["title"], *row) for name, row in cells.items())]


def is_certified(result: Result, name: str) -> bool:
    """Whether an arm has a certificate that holds; older benchmarks had the ladder alone, of the tuned forms."""
    of_arm = {**dict.fromkeys(FRAMEWORK_NAMES, result["parity"]), **result.get("certificates", {})}.get(name)
    return of_arm is not None and of_arm["holds"] is True


def _rests_on(result: Result, name: str) -> str:
    """The kind of an arm's certificate."""
    kind = result.get("certificates", {}).get(name, {}).get("kind", "ladder")
    return kind if is_certified(result, name) else "no certificate"


def _images(result: Result, batch_size: int) -> int:
    """Of an epoch, in whole batches."""
    return result["num_images"] // batch_size * batch_size


def _quartiles(step: Mapping[str, float]) -> str:
    return f"{number(step['median'])} ({number(step['low'])} to {number(step['high'])})"


def _ahead(result: Result, first: str, second: str) -> str:
    """Whichever arm takes shorter steps, at once if it starts first, or once it has caught up."""
    pair = "/".join(sorted((first, second)))
    if pair not in result["break_even_steps"]:
        return NOTHING
    faster = result["arms"][first if result["ratios"][f"{first}/{second}"]["median"] < 1 else second]["title"]
    step = result["break_even_steps"][pair]
    if not step:
        return f"{faster}: from the start"
    return f"{faster}: after {step:,} step{'s' if step > 1 else ''}"
