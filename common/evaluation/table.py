"""An evaluation as aligned text, for the terminal."""

from collections.abc import Sequence

from common.evaluation.calibration import stored_calibration
from common.evaluation.catalogue import CALIBRATED_METRICS, METRICS
from common.evaluation.evaluate import Evaluation, Measured

NOTHING = "-"


def table(evaluation: Evaluation) -> str:
    """What was measured and how, then every metric beside its floor, then what bad samples score."""
    lines = [*_protocol(evaluation), "", *_metrics(evaluation), ""]
    if (error := evaluation.metrics["kid"].get("standard_error")) is not None:
        lines.append(f"standard error of the first draw's KID  {_number(error)}")
    first = " of the first draw" if evaluation.protocol["num_draws"] > 1 else ""
    lines.append(f"samples{first} of each digit  {evaluation.class_histogram['generated']}")
    if evaluation.protocol["comparable"]:
        lines += ["", *_calibration(evaluation)]
    return "\n".join(lines)


def _protocol(evaluation: Evaluation) -> list[str]:
    protocol = evaluation.protocol
    note = "" if protocol["comparable"] else "  (not comparable: not the standard protocol)"
    draws = f"{protocol['num_draws']} x " if protocol["num_draws"] > 1 else ""
    kid, size = protocol["kid"], protocol["image_size"]
    neighbours = "" if protocol["quick"] else f"k = {protocol['k']}, "
    return [
        f"{draws}{protocol['num_generated']} samples against {protocol['num_real']} {protocol['reference']}{note}",
        f"{size} px images scored at 28 px, as: {protocol['brought_to_28_px']}",
        f"feature network {protocol['network_sha256'][:12]}, {neighbours}"
        f"KID over {kid['num_subsets']} subsets of {kid['subset_size']} (seed {kid['seed']})",
        f"floor: {protocol['floor']}",
        *(f"WARNING: {warning}" for warning in protocol["warnings"]),
    ]


def _metrics(evaluation: Evaluation) -> list[str]:
    rows: list[Sequence[str]] = [("metric", "value", "spread", "floor", "against floor", "range of the floor")]
    for name, metric in evaluation.metrics.items():
        low, high = metric["floor_low"], metric["floor_high"]
        rows.append(
            (
                name,
                *(_number(metric[part]) for part in ("value", "spread", "floor")),
                _against_floor(name, metric),
                NOTHING if low is None else f"{_number(low)} to {_number(high)}",
            )
        )
    return _aligned(rows)


def _calibration(evaluation: Evaluation) -> list[str]:
    names = [name for name in CALIBRATED_METRICS if name in evaluation.metrics]
    sets = {
        "real digits (the floor)": {name: evaluation.metrics[name]["floor"] for name in names},
        "these samples": {name: evaluation.metrics[name]["value"] for name in names},
        **stored_calibration(),
    }
    return _aligned(
        [("for comparison", *names), *((label, *(_number(row[name]) for name in names)) for label, row in sets.items())]
    )


def _against_floor(name: str, metric: Measured) -> str:
    value, floor = metric["value"], metric["floor"]
    relation = METRICS[name].relation
    if floor is None or not relation:
        return NOTHING
    if relation == "ratio":
        return f"{value / floor:.2f} x" if floor > 0 else NOTHING
    return f"{value - floor:+.3g}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:#.4g}".rstrip(".")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
