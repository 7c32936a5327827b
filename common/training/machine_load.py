"""What else the machine did while a run trained, as far as the system shows it; read while the run's clock stands."""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import psutil

from common.records.environment import involuntary_switches

NOT_BUSY = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is in `user` as well
Item = TypeVar("Item")
Shown = TypeVar("Shown")


class CpuTime(NamedTuple):
    """Seconds of CPU time so far, or between two readings; None where the system does not show them."""

    own: float | None  # of all threads of this process, and of children that have ended
    busy: float | None = None  # of the cores that this process may use, whoever used them
    stolen: float | None = None  # the part of it that a hypervisor gave to other machines

    def since(self, earlier: "CpuTime") -> "CpuTime":
        """What was spent between the two readings."""
        pairs = zip(self, earlier, strict=True)
        return CpuTime(*(None if now is None or then is None else max(now - then, 0.0) for now, then in pairs))


def read_cpu_time() -> CpuTime:
    """The CPU time of this moment; that of the cores comes in ticks, on Linux of 10 ms."""
    children = os.times()
    own = time.process_time() + children.children_user + children.children_system
    cores = _shown(lambda: [core._asdict() for core in _usable(psutil.cpu_times(percpu=True))])
    if not cores:
        return CpuTime(own)
    busy = sum(seconds for core in cores for name, seconds in core.items() if name not in NOT_BUSY)
    return CpuTime(own, busy, sum(core["steal"] for core in cores) if "steal" in cores[0] else None)


class ConditionsWatch:
    """What slows a machine beside other programs, from the making of this to its last `look`."""

    def __init__(self) -> None:
        self._switches_before, self._swapped_before = involuntary_switches(), _shown(_swapped_bytes)
        self.record: dict[str, Any] = {}  # `Conditions` of timing.json; empty before the first look

    def look(self) -> None:
        """At the end of an epoch, when the processor's clock is still that of training."""
        swapped, before = _shown(_swapped_bytes), self._swapped_before
        clocks = (_shown(_clock), self.record.get("lowest_clock"))
        self.record = {
            "involuntary_switches": involuntary_switches() - self._switches_before,
            "swapped_bytes": None if swapped is None or before is None else max(swapped - before, 0),
            "on_battery": _shown(_on_battery) or self.record.get("on_battery"),
            "lowest_clock": min((clock for clock in clocks if clock is not None), default=None),
        }


def _on_battery() -> bool | None:
    battery = psutil.sensors_battery()
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def _clock() -> float | None:
    """The fastest core's share of its highest clock: the others may be idle, and slow for that."""
    return max(
        (min(core.current / core.max, 1.0) for core in _usable(psutil.cpu_freq(percpu=True)) if core.max), default=None
    )


def _swapped_bytes() -> int | None:
    """Of all programs, since the machine started, in and out."""
    if psutil.WINDOWS:
        return None  # it is shown as 0
    memory = psutil.swap_memory()
    return memory.sin + memory.sout


def _usable(cores: Sequence[Item]) -> list[Item]:
    """Those that this process may use; a container that numbers its cores anew shows these alone."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(cores))
    return [cores[core] for core in usable] if max(usable, default=0) < len(cores) else list(cores)


def _shown(read: Callable[[], Shown]) -> Shown | None:
    """What a system shows; None where it shows nothing, of which psutil may also warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read()
        except (OSError, AttributeError, NotImplementedError, RuntimeWarning):
            return None
