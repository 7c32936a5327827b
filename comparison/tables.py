"""A comparison's numbers as the text of tables, shared by report.html, report.md and the terminal."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from comparison.recorded_run import FRAMEWORK_NAMES

NOTHING = "-"


class Row(NamedTuple):
    """One line of a table: what it is, a remark in small print, and the text of each cell."""

    label: str
    note: str
    cells: Sequence[str]
    small_print: Sequence[Sequence[str]] = ()  # lines below each cell, or nothing below any


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its heading."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def number(value: float | None, digits: int = 3) -> str:
    """Rounded to significant digits, those before the point all kept."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0 or abs(value) >= 10**digits - 0.5 or float(value).is_integer():
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:#.{digits}g}".rstrip(".")


def difference(value: float | None) -> str:
    """A relative difference: two digits and a power of ten where it is small."""
    return number(value) if value is None or value == 0 or value >= 0.01 else f"{value:.1e}".replace("e-0", "e-")


def duration(seconds: float | None) -> str:
    """Milliseconds, seconds, or minutes and seconds."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{number(1e3 * seconds)} ms"
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"


def percentage(fraction: float | None) -> str:
    """A fraction in percent."""
    return NOTHING if fraction is None else f"{number(100 * fraction, digits=2)} %"


def memory(num_bytes: int | None) -> str:
    """Decimal megabytes or gigabytes."""
    if num_bytes is None:
        return NOTHING
    return f"{number(num_bytes / 1e9)} GB" if num_bytes >= 1e9 else f"{number(num_bytes / 1e6)} MB"


def speed_rows(frameworks: Mapping[str, Any]) -> list[Row]:
    """The headline table without quality."""

    def rate(framework: Mapping[str, Any]) -> str:
        speed = framework["steady_images_per_second"]
        return f"{number(speed['median'])} ({number(speed['low'])}-{number(speed['high'])})" if speed else NOTHING

    chunk_sizes = {framework["chunk_size"] for framework in frameworks.values()} - {None}
    chunk = f"chunks of {chunk_sizes.pop()} steps" if len(chunk_sizes) == 1 else "chunks"
    return [
        _row(frameworks, "Steady images/s", f"median (range) over {chunk}", rate),
        _row(frameworks, "Time per epoch", "at that median", _of("seconds_per_epoch", duration)),
        _row(frameworks, "First chunk", "with compilation", _of("first_chunk_seconds", duration)),
        _row(frameworks, "Preparing data", "batches and latents, whole run", _of("data_seconds", duration)),
        _row(
            frameworks,
            "Loop overhead",
            "wall time outside training steps, files included",
            _of("loop_overhead_fraction", percentage),
        ),
        _row(frameworks, "Peak memory", "of the process", _of("peak_memory_bytes", memory)),
    ]


def phase_rows(frameworks: Mapping[str, Any]) -> list[Row]:
    """Where the whole run's time went."""
    phases = {
        "import_seconds": ("Import", "of the framework"),
        "data_loading_seconds": ("Load the dataset", "once"),
        "build_seconds": ("Build the networks", "and load the initial weights"),
        "first_chunk_seconds": ("First chunk", "part of training"),
        "training_seconds": ("Training", "all chunks"),
        "data_seconds": ("Preparing data", "batches and latents"),
        "evaluation_seconds": ("After each epoch", "sample grids, checkpoints, files"),
        "generate_seconds": ("Generate for scoring", "after training"),
        "drawing_seconds": ("Drawing", "the pictures of the run folder"),
        "scoring_seconds": ("Scoring", "after training"),
        "total_seconds": ("Total", "from loading the dataset to scoring"),
    }
    return [_row(frameworks, label, note, _of(name, duration)) for name, (label, note) in phases.items()]


def last_epoch_rows(frameworks: Mapping[str, Any]) -> list[Row]:
    """Where losses and scores ended."""
    titles = {
        "discriminator_loss": "Discriminator loss",
        "generator_loss": "Generator loss",
        "real_score": "D(x)",
        "fake_score": "D(G(z))",
    }
    return [
        _row(frameworks, title, "", lambda f, name=name: number((f["last_epoch_means"] or {}).get(name)))
        for name, title in titles.items()
    ]


def difference_rows(agreement: Mapping[str, Any]) -> list[Row]:
    """Relative difference of both losses at some early steps."""
    steps = next(iter(agreement.values()))["at_step"]
    return [
        Row(f"Step {step}", "", [difference(loss["at_step"][step]) for loss in agreement.values()]) for step in steps
    ]


def parity_rows(rungs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Of each rung, the measurement with the least head-room in float64 and in float32."""
    rows = []
    for number_of_rung in dict.fromkeys(rung["rung"] for rung in rungs):
        of_rung = {rung["precision"]: rung for rung in rungs if rung["rung"] == number_of_rung}
        kind = next(iter(of_rung.values()))["kind"].replace("_", " ")
        cells = [_headroom(of_rung.get(precision)) for precision in ("float64", "float32")]
        rows.append(Row(f"{number_of_rung} {kind}", "", cells))
    return rows


def _headroom(measurement: Mapping[str, Any] | None) -> str:
    if measurement is None:
        return NOTHING
    if not measurement["holds"]:
        measured = "no number" if measurement["measured"] is None else f"{measurement['measured']:.1e}"
        return f"FAILS: {measured} of {tolerance(measurement['tolerance'])}, {measurement['where']}"
    if measurement["tolerance"] == 0:
        return "exact"
    return f"{measurement['measured']:.1e} of {tolerance(measurement['tolerance'])}"


def tolerance(value: float) -> str:
    """`1e-12`; one that is no power of ten, as what rounding excuses is, keeps a digit more: `2.4e-12`."""
    return f"{value:.1e}".replace(".0e", "e")


def environment_rows(environments: Mapping[str, Any]) -> list[Row]:
    """Every field of environment.json except the command, which is shown by itself."""
    names = dict.fromkeys(name for environment in environments.values() for name in environment)
    hidden = ("command", "framework", "framework_name")
    return [
        Row(name, "", [_plain(name, environment.get(name)) for environment in environments.values()])
        for name in names
        if name not in hidden
    ]


def framework_columns(frameworks: Mapping[str, Any]) -> list[str]:
    """Column headings."""
    return [FRAMEWORK_NAMES[name] for name in frameworks]


def _of(name: str, as_text: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda framework: as_text(framework[name])


def _row(frameworks: Mapping[str, Any], label: str, note: str, cell: Callable[[Any], str]) -> Row:
    return Row(label, note, [cell(framework) for framework in frameworks.values()])


def _plain(name: str, value: Any) -> str:
    if name == "memory_bytes":
        return memory(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {item:,}" if type(item) is int else f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
