"""What a GPU does while something is measured on it: clocks, power and why it slows down, as its driver tells."""

import itertools
import shutil
import statistics
import subprocess
import threading
import time
from typing import Any, Self

from common.records.accelerator import UNKNOWN, first_gpu, query

REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # the same, in new drivers and in old ones
SAMPLED = ("clocks.sm", "power.draw", "temperature.gpu", "memory.used", "utilization.gpu", *REASONS)
INTERVAL_MILLISECONDS = 100
IDLE = 1  # the bit of a reason that is none: nothing was to be done


class GpuWatch:
    """Asks `nvidia-smi` all the while; `record` is None where there is none."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, list[str]]] = []
        self._known: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        program, answered = shutil.which("nvidia-smi"), query(SAMPLED)
        if program and answered:
            # A name that this driver does not know would have it answer none.
            self._known = [name for name, value in zip(SAMPLED, answered, strict=True) if value != UNKNOWN]
            wanted = [f"--query-gpu={','.join(self._known)}", f"--id={first_gpu()}"]
            command = [program, *wanted, "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen(
                [*command, f"--loop-ms={INTERVAL_MILLISECONDS}"], stdout=subprocess.PIPE, text=True
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._reader is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            values = [value.strip() for value in line.split(",")]
            if len(values) == len(self._known):
                found = dict(zip(self._known, values, strict=True))
                self._samples.append((time.monotonic(), [found.get(name, UNKNOWN) for name in SAMPLED]))

    @property
    def record(self) -> dict[str, Any] | None:
        """In MHz, W, J, degrees Celsius and MiB; None of what the driver did not tell."""
        return summary(self._samples)


def summary(samples: list[tuple[float, list[str]]]) -> dict[str, Any] | None:
    """Of samples with the moments at which they came."""
    if len(samples) < 2:
        return None
    columns = {name: [_number(values[index]) for _, values in samples] for index, name in enumerate(SAMPLED)}
    power = [(moment, watts) for (moment, _), watts in zip(samples, columns["power.draw"], strict=True)]
    used = columns["utilization.gpu"]
    most_used = _of(max, used) or 0
    watts_when_used = [w for w, u in zip(columns["power.draw"], used, strict=True) if u and u >= most_used / 2]
    reasons = 0
    for _, values in samples:
        for value in values[-len(REASONS) :]:
            reasons |= int(value, 16) if value.startswith("0x") else 0
    return {
        "num_samples": len(samples),
        "seconds": samples[-1][0] - samples[0][0],
        "clock_mhz": {"low": _of(min, columns["clocks.sm"]), "high": _of(max, columns["clocks.sm"])},
        "power_watts": _of(statistics.fmean, columns["power.draw"]),
        "power_watts_when_used": _of(statistics.fmean, watts_when_used),  # without import, compilation and sampling
        "energy_joules": _energy(power),
        "temperature_high": _of(max, columns["temperature.gpu"]),
        "memory_used_mib_high": _of(max, columns["memory.used"]),
        "busy_percent": _of(statistics.fmean, columns["utilization.gpu"]),
        "slowed_down_by": hex(reasons & ~IDLE),  # bits of nvmlClocksEventReasons
    }


def _energy(power: list[tuple[float, float | None]]) -> float | None:
    """Watts over seconds, by trapezoids."""
    known = [(moment, watts) for moment, watts in power if watts is not None]
    if len(known) < 2:
        return None
    spans = itertools.pairwise(known)
    return sum((later - earlier) * (before + after) / 2 for (earlier, before), (later, after) in spans)


def _number(text: str) -> float | None:
    """None for `[N/A]`."""
    try:
        return float(text)
    except ValueError:
        return None


def _of(kind: Any, values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return kind(known) if known else None
