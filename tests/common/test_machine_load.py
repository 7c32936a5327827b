"""What other programs used of the cores is seen, whatever a system shows of it."""

import subprocess
import sys
import time
import warnings
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest

from common.data.datasets import fit_images
from common.records.environment import default_num_threads
from common.records.series import Chunk, cores_used_by_others
from common.training import machine_load
from common.training.machine_load import ConditionsWatch, CpuTime, read_cpu_time
from tests.common.test_loop import Constant, run_loop
from tests.trainers import small_config

LinuxTimes = namedtuple("LinuxTimes", "user nice system idle iowait steal guest guest_nice")
MacTimes = namedtuple("MacTimes", "user nice system idle")


class Resting(Constant):
    """Its steps take time and hardly any of the processor."""

    def train_chunk(self, indices, latents, decays):
        time.sleep(0.5)
        return super().train_chunk(indices, latents, decays)


@pytest.fixture
def spinner():
    """A process that keeps one of our cores busy."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        yield psutil.Process(busy.pid)
        busy.kill()


def test_a_busy_process_beside_a_run_is_seen_by_what_it_uses(spinner, digits, tmp_path):
    def spun() -> float:
        return spinner.cpu_times().user + spinner.cpu_times().system

    before, started = spun(), time.perf_counter()
    log = run_loop(Resting(config := small_config(epochs=3)), config, fit_images(digits[:16], 32), tmp_path)
    share_of_spinner = (spun() - before) / (time.perf_counter() - started)
    others = cores_used_by_others(log.chunks)
    assert others is not None
    assert others > 0.5, "whether the spinner had a core to itself or shared it, others used one"
    assert others > 0.8 * share_of_spinner
    assert others < 1.1 * default_num_threads()
    assert all(chunk.cpu_seconds is not None and chunk.cpu_seconds < 0.25 for chunk in log.chunks), (
        "its own time is not mistaken for the spinner's"
    )


def test_reading_how_busy_the_machine_is_does_not_count_as_training(monkeypatch, digits, tmp_path):
    monkeypatch.setattr("common.training.loop.read_cpu_time", lambda: time.sleep(0.3) or read_cpu_time())
    config = small_config(epochs=1)
    log = run_loop(Constant(config), config, fit_images(digits[:16], 32), tmp_path)
    assert log.training_seconds < 0.3 < log.wall_seconds


def reading(monkeypatch, *cores, usable=(0, 1)):
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: list(cores))
    monkeypatch.setattr(machine_load.os, "sched_getaffinity", lambda _: set(usable), raising=False)
    return read_cpu_time()


def test_busy_is_all_but_idle_waiting_and_what_a_guest_s_time_says_twice(monkeypatch):
    core = LinuxTimes(user=8.0, nice=1.0, system=2.0, idle=50.0, iowait=9.0, steal=0.5, guest=3.0, guest_nice=1.0)
    assert reading(monkeypatch, core, core)[1:] == (23.0, 1.0)
    assert reading(monkeypatch, MacTimes(8.0, 1.0, 2.0, 50.0), MacTimes(0.0, 0.0, 1.0, 9.0))[1:] == (12.0, None)


def test_only_cores_that_the_process_may_use_count(monkeypatch):
    cores = [MacTimes(user, 0.0, 0.0, 9.0) for user in (1.0, 2.0, 4.0, 8.0)]
    assert reading(monkeypatch, *cores, usable=(1, 3)).busy == 10.0
    assert reading(monkeypatch, *cores[:2], usable=(1, 3)).busy == 3.0, "a container that numbers its cores anew"


@pytest.mark.parametrize("hidden", [OSError, AttributeError, NotImplementedError, RuntimeWarning])
def test_what_a_system_does_not_show_is_null(hidden, monkeypatch):
    def refuse(*_: object, **__: object):
        if hidden is RuntimeWarning:
            return warnings.warn("not determined, set to 0", RuntimeWarning, stacklevel=1)
        raise hidden

    for name in ("cpu_times", "swap_memory", "sensors_battery", "cpu_freq"):
        monkeypatch.setattr(psutil, name, refuse, raising=False)
    assert read_cpu_time()[1:] == (None, None)
    watch = ConditionsWatch()
    watch.look()
    assert watch.record.pop("involuntary_switches") >= 0
    assert watch.record == {"swapped_bytes": None, "on_battery": None, "lowest_clock": None}


def test_swapping_a_battery_and_a_slow_clock_are_kept_from_any_epoch(monkeypatch):
    swapped, plugged, clocks = iter([(5, 5), (5, 9), (8, 9)]), iter([False, True]), iter([0.4, 0.9])
    monkeypatch.setattr(
        psutil, "swap_memory", lambda: SimpleNamespace(**dict(zip(("sin", "sout"), next(swapped), strict=True)))
    )
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=next(plugged)))
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: [SimpleNamespace(current=3e3 * next(clocks), max=3e3)])
    watch = ConditionsWatch()
    watch.look()
    watch.look()
    assert watch.record.pop("involuntary_switches") >= 0
    assert watch.record == {"swapped_bytes": 7, "on_battery": True, "lowest_clock": pytest.approx(0.4)}


def test_what_was_spent_between_readings_is_never_below_zero():
    assert CpuTime(3.0, 9.0, 0.5).since(CpuTime(1.0, 4.0, 0.75)) == (2.0, 5.0, 0.0)
    assert CpuTime(3.0).since(CpuTime(1.0)) == (2.0, None, None)


@pytest.mark.parametrize(
    ("chunks", "others"),
    [
        ([Chunk(1, 16, 1.0, 1.5, 2.0), Chunk(17, 16, 3.0, 4.5, 5.0)], 0.25),  # of the whole time, not of each chunk
        ([Chunk(1, 16, 2.0, 3.0, 2.98)], 0.0),  # ticks
        ([Chunk(1, 16, 2.0)], None),  # an older run
        ([Chunk(1, 16, 2.0, 3.0, None)], None),
        ([Chunk(1, 16, 2.0, 3.0, 0.0)], None),  # a sandbox that shows zeros
        ([Chunk(1, 16, 0.02, 0.02, 0.04)] * 9, None),  # too short for ticks
        ([], None),
    ],
)
def test_others_used_what_was_busy_and_not_ours_where_that_can_be_known(chunks, others):
    assert cores_used_by_others(chunks) == others
