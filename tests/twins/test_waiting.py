"""PyTorch's threads wait for each other briefly, and more briefly still while another program wants their cores."""

import os
import subprocess
import sys
import threading

import pytest

from torch_impl.tuned import waiting
from torch_impl.tuned.waiting import MAX_SHARE_DELAYED, SPIN_COUNT, Waiting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system decides")

PROGRAM = """
import ctypes, os, sys
{first}
from torch_impl.__main__ import load_framework
from torch_impl.tuned.waiting import WAITING
load_framework()
print(WAITING._is_ours, os.environ.get("GOMP_SPINCOUNT"), flush=True)
"""


def loaded(first: str = "", **variables: str) -> tuple[list[str], str]:
    """Whether the waiting is ours and what is left in the environment; what PyTorch's OpenMP says of itself."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = {**inherited, "OMP_DISPLAY_ENV": "verbose", **variables}
    command = [sys.executable, "-c", PROGRAM.format(first=first)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return result.stdout.split(), result.stderr


@pytest.mark.parametrize("first", ["", "import sklearn.neighbors"])
def test_pytorchs_openmp_alone_is_told_to_wait_briefly_whatever_was_imported_first(first):
    (is_ours, left), said = loaded(first)
    assert (is_ours, left) == ("True", "None")
    counts = [line.split("'")[1] for line in said.splitlines() if SPIN_COUNT in line]
    assert counts[-1] == waiting.BRIEFLY
    assert waiting.BRIEFLY not in counts[:-1]


@pytest.mark.parametrize(
    ("first", "variables"),
    [("import torch", {}), ("", {SPIN_COUNT: "7"}), ("", {"OMP_WAIT_POLICY": "active"})],
    ids=["too late", "by hand", "policy by hand"],
)
def test_nothing_is_changed_that_cannot_be_or_that_somebody_has_chosen(first, variables):
    (is_ours, left), said = loaded(first, **variables)
    assert (is_ours, left) == ("False", variables.get(SPIN_COUNT, "None"))
    assert waiting.BRIEFLY not in said


@pytest.fixture
def ours(monkeypatch) -> Waiting:
    """A share of the time, given in `delays`, is spent waiting for a core."""
    found = Waiting()
    found._is_ours = True
    return found


def crowds() -> int:
    return sum(thread.name == "crowd" and thread.is_alive() for thread in threading.enumerate())


def test_a_second_team_sleeps_beside_the_first_while_that_has_to_wait_for_a_core(ours, monkeypatch):
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(waiting.time, "perf_counter_ns", lambda: next(now))
    for share, expected in [(0.5, 1), (0.3, 1), (0, 0), (MAX_SHARE_DELAYED / 2, 0), (0.2, 1), (0, 0)]:
        delays = iter([0, 1000 * share])
        monkeypatch.setattr(waiting, "delay_nanoseconds", lambda delays=delays: next(delays))
        with ours.adapted():
            pass
        for thread in threading.enumerate():
            if thread.name == "crowd" and not expected:
                thread.join(timeout=10)
        assert crowds() == expected


def test_a_thread_that_shares_its_only_core_has_waited_for_it():
    core = min(os.sched_getaffinity(0))
    program = f"""
import os, time
from torch_impl.tuned.waiting import delay_nanoseconds
os.sched_setaffinity(0, {{{core}}})
before, ends = delay_nanoseconds(), time.process_time() + 0.2
while time.process_time() < ends: pass
print(delay_nanoseconds() - before)
"""
    spinning = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    with subprocess.Popen(spinning, start_new_session=True) as neighbour:
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        neighbour.kill()
    assert int(result.stdout) > 0.05e9
