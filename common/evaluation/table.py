"""An evaluation as aligned text, for the terminal: within 80 columns, in the words of the report."""

import textwrap
from collections.abc import Sequence

from common.evaluation.calibration import in_order, stored_calibration
from common.evaluation.catalogue import CALIBRATED_METRICS, HEADLINE_METRICS, METRICS
from common.evaluation.evaluate import Evaluation, Measured
from common.evaluation.evaluate_own import how_compared

NOTHING = "-"
WIDTH = 80
HEADING_WIDTH = 11
COLUMNS_BESIDE = 4  # metrics beside each other in the calibration
ARROWS = {"up": " ↑", "down": " ↓"}


def table(evaluation: Evaluation) -> str:
    """What was found wrong and how it was measured, then every metric beside what real and damaged digits score."""
    alarms = [f"ALARM: {alarm['sentence']}" for alarm in evaluation.protocol["warnings"]]
    lines = [*alarms, *_protocol(evaluation), "", *_metrics(evaluation), ""]
    if (error := evaluation.metrics["kid"].get("standard_error")) is not None:
        lines.append(f"standard error of the first draw's KID  {_number(error)}")
    first = " of the first draw" if evaluation.protocol["num_draws"] > 1 else ""
    if evaluation.class_histogram:
        lines.append(f"samples{first} of each digit  {evaluation.class_histogram['generated']}")
    if evaluation.protocol["comparable"]:
        lines += ["", *_calibration(evaluation)]
    return "\n".join(part for line in lines for part in _wrapped(line))


def _protocol(evaluation: Evaluation) -> list[str]:
    protocol = evaluation.protocol
    why = "see the alarm" if protocol["warnings"] else "not the standard protocol"
    note = "" if protocol["comparable"] else f"  (not comparable: {why})"
    draws = f"{protocol['num_draws']} x " if protocol["num_draws"] > 1 else ""
    kid, size = protocol["kid"], protocol["image_size"]
    neighbours = "" if protocol["quick"] else f"k = {protocol['k']}, "
    sets = f"{draws}{protocol['num_generated']} samples against {protocol['num_real']} {protocol['reference']}{note}"
    estimated = f"{neighbours}KID over {kid['num_subsets']} subsets of {kid['subset_size']} (seed {kid['seed']})"
    if "features" in protocol:
        lines = [sets, f"compared by {protocol['features']}, {estimated}", f"real images score: {protocol['floor']}"]
        return [*lines, *(f"{sentence}." for sentence in how_compared(protocol))]
    return [
        sets,
        f"{size} px images scored at 28 px, as: {protocol['brought_to_28_px']}",
        f"feature network {protocol['network_sha256'][:12]}, {estimated}",
        f"real digits score: {protocol['floor']}",
    ]


def _metrics(evaluation: Evaluation) -> list[str]:
    """The headline first, as in the report's summary."""
    real = "real images score" if "features" in evaluation.protocol else "real digits score"
    rows: list[Sequence[str]] = [("metric", "value", "±", real, "compared")]
    for name in sorted(evaluation.metrics, key=lambda name: name not in HEADLINE_METRICS):
        metric = evaluation.metrics[name]
        numbers = (_number(metric[part]) for part in ("value", "spread", "floor"))
        rows.append((_label(name), *numbers, _against_floor(name, metric)))
    return _aligned(rows)


def _calibration(evaluation: Evaluation) -> list[str]:
    names = [name for name in CALIBRATED_METRICS if name in evaluation.metrics]
    sets = in_order(
        {
            "real digits": {name: evaluation.metrics[name]["floor"] for name in names},
            "THESE SAMPLES": {name: evaluation.metrics[name]["value"] for name in names},
            **stored_calibration(),
        }
    )
    lines = []
    for start in range(0, len(names), COLUMNS_BESIDE):
        some = names[start : start + COLUMNS_BESIDE]
        headings = [textwrap.wrap(_label(name), HEADING_WIDTH) for name in some]
        height = max(map(len, headings))
        above = [["" for _ in range(height - len(heading))] + heading for heading in headings]
        rows = [["", *line] for line in zip(*above, strict=True)]
        rows[-1][0] = "for comparison"
        lines += [
            "",
            *_aligned([*rows, *([label, *(_number(row.get(n)) for n in some)] for label, row in sets.items())]),
        ]
    return lines[1:]


def _label(name: str) -> str:
    return f"{METRICS[name].title}{ARROWS.get(METRICS[name].better, '')}"


def _against_floor(name: str, metric: Measured) -> str:
    value, floor = metric["value"], metric["floor"]
    relation = METRICS[name].relation
    if floor is None or not relation:
        return NOTHING
    if relation == "ratio":
        return f"{value / floor:.2f} x" if floor > 0 else NOTHING
    return f"{value - floor:+.2g}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:#.3g}".rstrip(".")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _wrapped(line: str) -> list[str]:
    """A long sentence over several lines; a row of a table has its place."""
    return [line] if len(line) <= WIDTH else textwrap.wrap(line, WIDTH, subsequent_indent="  ")
