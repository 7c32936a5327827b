"""python -m tests.comparison.port.detect FILE.json: what `compare.py diff` says of every pair that these tests know.

python -m comparison.publish.port FILE.json makes docs/results/port.md of it.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from common.errors import UserError
from comparison.port.compare import compare
from comparison.port.report import as_json
from tests.comparison.port import planted
from tests.comparison.port.pairs import CASES
from tests.comparison.port.threads import THREADS


class Found(NamedTuple):
    """One pair, and what was said of it."""

    group: str
    name: str
    fault: bool  # one is in the pair
    result: dict[str, Any] | None
    error: str  # why it could not be compared
    missed_because: str = ""

    @property
    def is_right(self) -> bool:
        """A fault is found, or missed for the reason that is known; a clean pair agrees."""
        agrees = self.result is not None and self.result["agrees"]
        return agrees == (not self.fault or bool(self.missed_because))


def look(group: str, name: str, make: Callable[[], Any], *, fault: bool, missed_because: str = "") -> Found:
    """What is said of one pair."""
    try:
        return Found(group, name, fault, as_json(compare(*make())), "", missed_because)
    except UserError as error:
        return Found(group, name, fault, None, str(error), missed_because)


def look_at_models() -> Iterator[Found]:
    """The four models, clean and with three faults each."""
    for name, case in CASES.items():
        yield look("model", name, lambda case=case: (case.torch(), case.flax(), case.inputs()), fault=False)
        for fault in case.faults:
            made = lambda case=case, fault=fault: (case.torch(), case.flax(fault), case.inputs())  # noqa: E731
            yield look("model", f"{name}: {fault}", made, fault=True)


def look_at_threads() -> Iterator[Found]:
    """The nine public causes."""
    for name, (torch_of, flax_of, inputs, *_) in THREADS.items():
        yield look("thread", name, lambda t=torch_of, f=flax_of, i=inputs: (t(), f(), i()), fault=True)


def look_at_planted(bugs: Sequence[Any] = planted.BUGS) -> Iterator[Found]:
    """Every planted bug of layers, losses and weights, in the first of the networks that shows it; and none."""
    for preset in planted.PRESETS:
        yield look("planted", f"no bug, {preset}", lambda preset=preset: planted.pair(preset), fault=False)
    for bug in bugs:
        found = None
        for preset in planted.PRESETS:
            with bug.planted():
                made = lambda preset=preset, bug=bug: planted.pair(preset, **bug.config)  # noqa: E731
                found = look("planted", bug.title, made, fault=True, missed_because=planted.MISSED.get(bug.title, ""))
            if found.result is None or not found.result["agrees"]:
                break
        assert found is not None
        yield found


def main() -> None:
    """Write all of it, and say of each whether it is as expected."""
    jax.config.update("jax_platforms", "cpu")
    entries = []
    for found in itertools.chain(look_at_models(), look_at_threads(), look_at_planted()):
        first = (found.result or {}).get("first_divergence") or {}
        entries.append(
            {"group": found.group, "name": found.name, "fault": found.fault, "error": found.error, **first}
            | {"missed_because": found.missed_because}
        )
        mark = "as expected" if found.is_right else "NOT AS EXPECTED"
        print(f"{mark}: {found.group}, {found.name}: {first.get('stage', found.error or 'agrees')}", flush=True)
        Path(sys.argv[1]).write_text(json.dumps({"pairs": entries}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
