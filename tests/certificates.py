"""A parity certificate of synthetic runs, or nearly one."""

import json
from pathlib import Path
from typing import Any

from common.contract import StepMetrics
from common.records.recorded_run import read_run
from comparison.parity.identity import OWN, SUBSETS, facts_of, ladder_hash
from comparison.parity.ladder import RUNGS
from tests.synthetic_runs import write_json


def write_certificate(folder: Path, **changes: Any) -> None:
    """A certificate of the runs in `folder`, or nearly."""
    config = json.loads((folder / "torch/config.json").read_text())
    runs = {name: run for name in ("torch", "jax") if (run := read_run(folder / name, name)) is not None}
    facts = {name: facts_of(run.environment, name) for name, run in runs.items()}
    covered = facts["torch"] | {name: facts["torch"][name] | facts["jax"][name] for name in SUBSETS}
    covered |= {name: {framework: facts[framework][name] for framework in runs} for name in OWN}
    losses = {name: {c: run.losses[c][:10].tolist() for c in StepMetrics._fields} for name, run in runs.items()}
    digests = dict.fromkeys(runs, "0")
    covered["first_steps"] = {"tolerances": [1e-5] * 10, "metrics": losses, "weights_sha256": digests}
    rung = {"rung": 8, "kind": "steps", "name": "step 1", "precision": "float64", "tolerance": 1e-12, "where": ""}
    rungs = [{**rung, "measured": 3e-14, "holds": True}, {**rung, "measured": 2e-15, "holds": True}]
    others = {number: rung.__name__ for number, rung in enumerate(RUNGS) if number != 8}
    exact = {"measured": 0.0, "tolerance": 0.0, "holds": True}
    rungs += [{**rung, "rung": number, "kind": kind, **exact} for number, kind in others.items()]
    covered["ladder_hash"] = ladder_hash()
    write_json(
        folder / "parity.json", {"holds": True, "quick": True, "config": config, **covered, "rungs": rungs, **changes}
    )
