"""What the report says of the parity certificate: the whole in one sentence, a plain one a rung, and the numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from comparison.text import NOTHING, Row, tolerance

# What holds if a rung does, by its name in the ladder.
IN_PLAIN_WORDS = {
    "specification": "Both networks have the same tensors, of the same shapes.",
    "data_and_noise": "Both are fed the same images and the same noise, to the byte.",
    "loaded_weights": "Both start from the same weights.",
    "layers": "Each layer alone gives the same outputs and gradients.",
    "forward": "Whole networks give the same outputs.",
    "losses": "Both losses are the same.",
    "gradients": "All gradients are the same.",
    "optimizer": "Adam makes the same updates.",
    "steps": "A whole training step leaves the same weights.",
    "running_statistics": "BatchNorm keeps the same running statistics.",
    "samples": "Both generate the same images from the same weights.",
    "trajectory": "Many steps in a row stay together in float64.",
    "noise_floor": "In float32 they part no faster than rounding makes them.",
    "late": "Steps from late states of training agree, too.",
}


class PlainRung(NamedTuple):
    """A rung for a reader without the code; `used` is its largest share of a tolerance, None if all is exact."""

    number: int
    sentence: str
    num_checks: int
    holds: bool
    used: float | None


def plain_rungs(rungs: Sequence[Mapping[str, Any]]) -> list[PlainRung]:
    """One a rung, both precisions together."""
    found = []
    for number_of_rung in dict.fromkeys(rung["rung"] for rung in rungs):
        of_rung = [rung for rung in rungs if rung["rung"] == number_of_rung]
        kind = of_rung[0]["kind"]
        shares = [
            rung["measured"] / rung["tolerance"]
            for rung in of_rung
            if rung["tolerance"] and rung["measured"] is not None
        ]
        found.append(
            PlainRung(
                number_of_rung,
                IN_PLAIN_WORDS.get(kind, f"{kind.replace('_', ' ')}."),
                sum(rung["num_measurements"] for rung in of_rung),
                all(rung["holds"] for rung in of_rung),
                max(shares, default=None),
            )
        )
    return found


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
    return _below(measurement["measured"], measurement["tolerance"])


def _below(measured: float, allowed: float) -> str:
    """`3.0e-14 of 1e-12`; with more digits where both would read the same: `1.692e-02 of 1.693e-02`."""
    if f"{measured:.1e}" != f"{allowed:.1e}" or measured == allowed:
        return f"{measured:.1e} of {tolerance(allowed)}"
    digits = next((n for n in range(2, 9) if f"{measured:.{n}e}" != f"{allowed:.{n}e}"), 9)
    return f"{measured:.{digits}e} of {allowed:.{digits}e}"


def headline(results: Mapping[str, Any]) -> str:
    """How many checks pass, in one sentence, or why parity is not certified."""
    found = results["parity"]
    if not found["holds"]:
        return f"Not certified: {found['reason']}."
    count = sum(rung["num_measurements"] for rung in found["rungs"])
    return f"{count} of {count} checks pass: both frameworks do the same arithmetic, up to rounding."


def parity(results: Mapping[str, Any]) -> str:
    """What the certificate says, or why there is none."""
    return f"{headline(results)} {explained(results)}" if results["parity"]["holds"] else headline(results)


def explained(results: Mapping[str, Any]) -> str:
    """What a certificate covers and what it does not, or why there is none."""
    found = results["parity"]
    if not found["holds"]:
        return headline(results)
    kind, num_steps = ("quick", 100) if found["quick"] else ("whole", 300)
    return (
        f"The {kind} ladder climbed trajectories of {num_steps} steps. It holds for exactly these "
        "runs: their configuration, images, sources, packages, processor and flags. Both took the first steps that "
        "the ladder saw, as nearly as rounding lets them. Float64 is the proof, but compiled with other options than "
        "float32. So rung 8 also holds each framework's float32 program against its own float64 one. Records are not "
        "signed: this finds honest mistakes, not forgeries."
    )
