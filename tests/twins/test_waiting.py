"""PyTorch's threads wait for each other more briefly while another program wants their cores, else as ever."""

import os
import subprocess
import sys
import threading

import pytest

from torch_impl.tuned import waiting
from torch_impl.tuned.waiting import CALM_SECONDS, JUDGED_SECONDS, MAX_SHARE_DELAYED, Waiting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system decides")

MANY = round(CALM_SECONDS / JUDGED_SECONDS) + 1


@pytest.fixture
def compute(monkeypatch):
    """Computes for some seconds, a share of which the thread waits for a core; how many teams sleep afterwards."""
    for name in waiting.CHOSEN_BY_HAND:
        monkeypatch.delenv(name, raising=False)
    clock, leaves = {"now": 0, "delayed": 0}, list[threading.Event]()
    monkeypatch.setattr(waiting.time, "perf_counter_ns", lambda: clock["now"])
    monkeypatch.setattr(waiting, "delay_nanoseconds", lambda: clock["delayed"])
    monkeypatch.setattr(waiting, "crowd", lambda: leaves.append(threading.Event()) or leaves[-1])
    state = Waiting()

    def step(seconds: float, share: float) -> int:
        with state.adapted():
            clock["now"] += round(seconds * 1e9)
            clock["delayed"] += round(share * seconds * 1e9)
        return sum(not event.is_set() for event in leaves)

    return step


def test_one_slow_step_beside_a_program_brings_a_second_team_which_stays_while_the_program_does(compute):
    assert compute(1.0, 0.5) == 1
    assert [compute(0.3, 0.3) for _ in range(MANY)] == [1] * MANY


def test_the_second_team_ends_after_two_calm_seconds_and_not_after_a_lucky_step(compute):
    compute(1.0, 0.5)
    assert compute(0.3, 0.0) == 1
    assert compute(0.3, 0.3) == 1  # which begins the calm anew
    assert [compute(JUDGED_SECONDS, 0.0) for _ in range(MANY)][-1] == 0


def test_what_delays_one_short_step_of_many_is_no_program(compute):
    assert [compute(0.01, 0.5 if step % 20 == 0 else 0) for step in range(100)] == [0] * 100


def test_a_share_that_a_quiet_machine_has_too_changes_nothing(compute):
    assert [compute(0.3, MAX_SHARE_DELAYED / 2) for _ in range(5)] == [0] * 5


@pytest.mark.parametrize("name", waiting.CHOSEN_BY_HAND)
def test_what_was_chosen_by_hand_is_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(waiting, "delay_nanoseconds", lambda: pytest.fail("it looked"))
    with Waiting().adapted():
        pass


def test_the_second_team_sleeps_until_it_is_told_to_leave():
    before = {*threading.enumerate()}
    leaves = waiting.crowd()
    (team,) = {thread for thread in threading.enumerate() if thread.name == "crowd"} - before
    assert team.is_alive()
    leaves.set()
    team.join(timeout=10)
    assert not team.is_alive()


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
