"""What the report says of the parity certificate."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.text import NOTHING, Row, tolerance


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


def parity(results: Mapping[str, Any]) -> str:
    """What the certificate says, or why there is none."""
    found = results["parity"]
    if not found["holds"]:
        return f"Not certified: {found['reason']}."
    count = sum(rung["num_measurements"] for rung in found["rungs"])
    kind, num_steps = ("quick", 100) if found["quick"] else ("whole", 300)
    return (
        f"Certified for exactly these runs. All {count} measurements of the {kind} ladder hold (trajectories of "
        f"{num_steps} steps), for the runs' own configuration, images, sources, packages, processor and flags. Both "
        "took the first steps that the ladder saw, as nearly as rounding lets them. Float64 is the proof, but compiled "
        "with other options than float32. So rung 8 also holds each framework's float32 program against its own "
        "float64 one. Records are not signed: this finds honest mistakes, not forgeries. "
        "Below, of each rung, the measurement with the least head-room."
    )
