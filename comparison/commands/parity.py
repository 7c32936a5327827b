"""`python compare.py parity`: climb the ladder, print every measurement, write the certificate.

Both frameworks run in one process, planted bugs in several: nothing here is timed, each is given its own arrays, and
the one switch they could inherit from a neighbour, JAX's x64, is set before every use.
"""

from typing import Any

from rich.console import Console
from rich.table import Table

from common.console import make_console, say
from common.errors import UserError
from common.options import check_result_file
from common.records.folder import PARITY_FILE, write_json
from common.stages import stage_console
from comparison.parity.arms import parse_arm
from comparison.parity.certificate import certificate
from comparison.parity.detection import Detection, Detections, detect_all
from comparison.parity.ladder import RUNGS, climb, what_is_climbed
from comparison.parity.options import ParityOptions
from comparison.parity.pair import Measurement
from comparison.parity.setup import make_pair
from comparison.text import tolerance

MATRIX_WIDTH = 100


def main(options: ParityOptions) -> int:
    """0 if every rung holds (or every bug is caught), 1 if one does not."""
    if options.config.precision == "bfloat16" and not options.arm:
        raise UserError("the ladder compares float64 and float32: leave --precision out, or name --arm torch-bfloat16")
    if options.arm and options.planted_bugs:
        raise UserError("bugs are planted for the ladder of a configuration: leave --arm out")
    check_result_file(options.json)
    examine = _plant_bugs if options.planted_bugs else _climb
    holds, record = examine(options, stage_console())
    if options.json is not None:
        write_json(options.json, record, kind=None if options.planted_bugs else PARITY_FILE)
    return 0 if holds else 1


def _climb(options: ParityOptions, console: Console) -> tuple[bool, dict[str, Any]]:
    arm = parse_arm(options.arm, precision=options.config.precision) if options.arm else None
    rungs, precisions = what_is_climbed(arm)
    pair = make_pair(options, num_threads=options.num_threads, arm=arm)
    measurements = []
    for measurement in climb(pair, rungs, precisions):
        measurements.append(measurement)
        say(console, line(measurement), style="" if measurement.holds else "red")
    found = certificate(pair, measurements, quick=options.quick, num_threads=options.num_threads, arm=arm, rungs=rungs)
    failed = sum(not measurement.holds for measurement in measurements)
    verdict = "every rung holds" if not failed else f"{failed} of {len(measurements)} measurements do not hold"
    console.print(f"{options.config.preset}, {arm.name if arm else options.config.variant}: {verdict}")
    return found["holds"], found


def _plant_bugs(options: ParityOptions, console: Console) -> tuple[bool, dict[str, Any]]:
    """The detection matrix, printed bug by bug as they are caught."""
    results = detect_all(options)
    clean = next(results)
    assert isinstance(clean, list)
    verdict = "every rung holds" if not clean else f"{len(clean)} measurements do not hold"
    console.print(f"{options.config.preset} without a bug: {verdict}")
    detections = []
    for detection in results:
        assert isinstance(detection, Detection)
        detections.append(detection)
        say(console, detection_line(detection), style="" if detection.is_expected else "red")
    found = Detections(detections, clean)
    make_console(width=max(console.width, MATRIX_WIDTH)).print(detection_matrix(found))
    caught = sum(detection.caught_by is not None for detection in detections)
    known = sum(bool(detection.bug.missed_because) for detection in detections)
    console.print(f"{caught} of {len(detections)} planted bugs are caught, and {known} are known to be missed")
    return found.holds, {
        "holds": found.holds,
        "preset": options.config.preset,
        "clean_failures": [line(measurement) for measurement in clean],
        "detections": [
            {
                "bug": bug.title,
                "file": bug.location,
                "edits": [{"before": before, "after": after} for before, after in bug.edits],
                "config": bug.config,
                "missed_because": bug.missed_because,
                **_as_json(measurement),
            }
            for bug, measurement in detections
        ],
    }


def _as_json(measurement: Measurement | None) -> dict[str, Any]:
    """A number that is infinite, and everything of a bug that was not caught, is None."""
    if measurement is None:
        return dict.fromkeys(("rung", "kind", *Measurement._fields[1:]))
    finite = float(measurement.measured) if measurement.measured < float("inf") else None
    kind = RUNGS[measurement.rung].__name__
    return {"rung": measurement.rung, "kind": kind, **measurement._asdict(), "measured": finite}


def line(measurement: Measurement) -> str:
    """One measurement as it is printed: value, tolerance, head-room, and where it went wrong if it did."""
    headroom = "exact" if measurement.measured == 0 else f"{measurement.headroom:.1g}x"
    mark = "holds" if measurement.holds else f"FAILS at {measurement.where}" if measurement.where else "FAILS"
    return (
        f"rung {measurement.rung:2d}  {measurement.precision:8s} {measurement.name:58s} "
        f"{measurement.measured:8.1e} of {tolerance(measurement.tolerance):7s}  {headroom:>7s}  {mark}"
    )


def detection_line(detection: Detection) -> str:
    """One bug, and the measurement that caught it."""
    bug, measurement = detection
    caught = f"missed: {bug.missed_because}" if bug.missed_because else "NOT CAUGHT"
    if measurement is not None:
        measured = f"{measurement.measured:.1e} of {tolerance(measurement.tolerance)}"
        caught = f"rung {measurement.rung:2d} {measurement.precision}, {measurement.name}: {measured}"
    return f"{bug.location:22s} {bug.title:56s} {caught}"


def detection_matrix(found: Detections) -> Table:
    """Bugs down, rungs across: a mark where each is caught first."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("bug", no_wrap=True)
    for rung in range(len(RUNGS)):
        table.add_column(str(rung), no_wrap=True)
    for bug, measurement in found.detections:
        marks = ["x" if measurement and measurement.rung == rung else "." for rung in range(len(RUNGS))]
        table.add_row(bug.title, *marks)
    return table
