"""Numbers as text, shared by the report, the terminal and the pages of docs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from common.records.folder import FRAMEWORK_NAMES

NOTHING = "-"
SHORT_NAMES = {framework: name.split(" / ")[0] for framework, name in FRAMEWORK_NAMES.items()}
SHOWN_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


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


def processor(machine: Mapping[str, Any]) -> str:
    """What computed: the CPU's name where it was recorded, and the vector instructions that matter here."""
    flags = [flag for flag in SHOWN_CPU_FLAGS if flag in machine["cpu_flags"]]
    return ", ".join([*filter(None, [machine.get("cpu_model")]), *flags]) or "no CPU named"


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


def tolerance(value: float) -> str:
    """`1e-12`; one that is no power of ten, as what rounding excuses is, keeps a digit more: `2.4e-12`."""
    return f"{value:.1e}".replace(".0e", "e")


def sources(hashes: Mapping[str, str]) -> str:
    """The first digits of each framework's source hash: `5f2c01ab9d3e (torch), ...`."""
    return ", ".join(f"{source_hash[:12]} ({framework})" for framework, source_hash in hashes.items())
