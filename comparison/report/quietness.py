"""How quiet the machine was while both trained: what their speeds are worth, and a sentence that says why."""

from collections.abc import Sequence
from typing import Any

from common.records.recorded_run import RecordedRun, Runs
from common.records.schema import Conditions
from common.records.series import Chunk, cores_used_by_others
from comparison.text import SHORT_NAMES

VERIFIED, INDICATIVE, DISTURBED = "verified", "indicative", "disturbed"
# Shares of the cores that others used; why these numbers: docs/decisions/0025-how-quiet-the-machine-was.md.
VERIFIED_BELOW, DISTURBED_FROM = 0.05, 0.15
LOWEST_CLOCK = 0.5
MOST_SWAPPED_BYTES = 100_000_000


def quietness(runs: Runs, *, is_certified: bool) -> dict[str, Any]:
    """The mark of the speeds, the sentence, and the numbers and thresholds that decided."""
    records = {name: _record(run) for name, run in runs.items()}
    seen = {name: record for name, record in records.items() if record["others_cores"] is not None}
    disturbed = {name: record for name, record in seen.items() if _share(record) >= DISTURBED_FROM}
    doubts = [] if is_certified else ["parity is not certified"]
    doubts += [doubt for name, record in records.items() for doubt in _doubts(SHORT_NAMES[name], record)]
    is_quiet = not doubts and all(_share(record) < VERIFIED_BELOW for record in seen.values())
    mark = DISTURBED if disturbed else VERIFIED if is_quiet else INDICATIVE
    usage = [_usage(runs[name], record) for name, record in (disturbed or seen).items()]
    reasons = [*([] if disturbed else doubts), *([f"other programs used {' and '.join(usage)}"] if usage else [])]
    sentence = f"These speeds are {mark}: {'; '.join(reasons)}."
    if disturbed:
        preset = next(iter(runs.values())).config["preset"]
        sentence += f" Close them, then train again, or time a step with `python compare.py bench --preset {preset}`."
    thresholds = {
        "verified_below": VERIFIED_BELOW,
        "disturbed_from": DISTURBED_FROM,
        "lowest_clock": LOWEST_CLOCK,
        "most_swapped_bytes": MOST_SWAPPED_BYTES,
    }
    return {"mark": mark, "sentence": sentence, "thresholds": thresholds, "runs": records}


def _record(run: RecordedRun) -> dict[str, Any]:
    """`RunQuietness` of comparison.json."""
    chunks = run.steady_chunks
    return {
        **{name: (run.timing.get("conditions") or {}).get(name) for name in Conditions.model_fields},
        "num_cores": run.environment["num_cpus"],
        "own_cores": _mean_cores(chunks, "cpu_seconds"),
        "others_cores": cores_used_by_others(chunks),
        "others_cores_by_epoch": {
            str(epoch): cores_used_by_others(own) for epoch, own in run.steady_chunks_by_epoch.items()
        },
        "stolen_cores": _mean_cores(chunks, "stolen_seconds"),
    }


def _mean_cores(chunks: Sequence[Chunk], name: str) -> float | None:
    spent = [getattr(chunk, name) for chunk in chunks]
    seconds = sum(chunk.seconds for chunk in chunks)
    return sum(spent) / seconds if seconds and None not in spent else None


def _share(record: dict[str, Any]) -> float:
    return record["others_cores"] / max(record["num_cores"], 1)


def _doubts(name: str, record: dict[str, Any]) -> list[str]:
    """What keeps a run's speed from being verified, however little others used."""
    clock, swapped, others = record["lowest_clock"], record["swapped_bytes"], record["others_cores"]
    found = {
        f"{name}'s run is too short, or its record too old, to show how busy the machine was": others is None,
        f"{name} trained on battery": record["on_battery"],
        f"the clock fell to {clock} of its highest while {name} trained": clock is not None and clock < LOWEST_CLOCK,
        f"memory was swapped while {name} trained": swapped is not None and swapped > MOST_SWAPPED_BYTES,
    }
    return [doubt for doubt, is_so in found.items() if is_so]


def _usage(run: RecordedRun, record: dict[str, Any]) -> str:
    """`0.90 of 2 cores during JAX's epochs 3 to 5`, which are named where others were quiet."""
    others, num_cores, when = record["others_cores"], record["num_cores"], f"while {SHORT_NAMES[run.framework]} trained"
    least = num_cores * (DISTURBED_FROM if _share(record) >= DISTURBED_FROM else VERIFIED_BELOW)
    by_epoch = record["others_cores_by_epoch"]
    busy = [int(epoch) for epoch, used in by_epoch.items() if used is not None and used >= least]
    if others >= least and 0 < len(busy) < len(by_epoch):
        chunks = run.steady_chunks_by_epoch
        others = cores_used_by_others([chunk for epoch in busy for chunk in chunks[epoch]])
        when = f"during {SHORT_NAMES[run.framework]}'s epoch{'s' if len(busy) > 1 else ''} {_spans(busy)}"
    stolen = record["stolen_cores"] or 0
    taken = f" ({stolen:.2f} of them were taken by a hypervisor)" if stolen >= num_cores * VERIFIED_BELOW else ""
    return f"{others:.2f} of {num_cores} core{'s' if num_cores != 1 else ''} {when}{taken}"


def _spans(epochs: Sequence[int]) -> str:
    """`1, 3 to 5`."""
    spans: list[list[int]] = []
    for epoch in epochs:
        if spans and epoch == spans[-1][-1] + 1:
            spans[-1][1:] = [epoch]
        else:
            spans.append([epoch])
    return ", ".join(" to ".join(map(str, span)) for span in spans)
