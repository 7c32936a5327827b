"""The one JSON: what has been measured is in it at once, and is not measured again."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import RunFailedError, UserError
from common.records.accelerator import describe_accelerator
from common.records.environment import describe_environment, hash_of_sources
from common.records.folder import write_atomically
from common.safe_read import MAX_JSON_BYTES, parse_json, read_bounded
from comparison.bench.gpu.watch import GpuWatch
from comparison.processes import Children, last_words

MEASURED_SOURCES = ("common", "torch_impl", "jax_impl", "comparison/bench", "comparison/parity")
SHORTEST_PART_SECONDS = 5  # what is left of the time must be at least so much for another part to begin


class Part(NamedTuple):
    """Something to measure; it is ended after so many seconds."""

    name: str
    seconds: float
    measure: Callable[["Session"], dict[str, Any]]


@dataclass
class Session:
    """Measures part after part, for so long; each that is finished, or failed, is written down before the next."""

    path: Path
    device: str  # gpu, or cpu in a rehearsal
    is_rehearsal: bool
    num_threads: int
    seconds: float
    children: Children
    say: Callable[[str], None]
    record: dict[str, Any] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _ends: float = 0.0  # of the part

    def run(self, parts: Sequence[Part]) -> dict[str, Any]:
        """What the file holds at the end; parts that time does not allow are named in it."""
        self.record = self._begin()
        missing = [part for part in parts if part.name not in self.record["parts"]]
        for part in missing:
            left = self.seconds - (time.monotonic() - self._started)
            if left < SHORTEST_PART_SECONDS:
                break
            self.say(f"{part.name} ({left:.0f} s left)")
            self._ends = time.monotonic() + min(part.seconds, left)
            found = self._measured(part)
            if "failed" in found and time.monotonic() > self._ends and left < part.seconds and part is not missing[0]:
                break  # another call has more time for it
            self.record["parts"][part.name] = found
            self._write(parts)
        self._write(parts)
        return self.record

    def _measured(self, part: Part) -> dict[str, Any]:
        started = time.monotonic()
        with GpuWatch() as watch:
            try:
                found = part.measure(self)
            except (RunFailedError, UserError) as error:
                found = {"failed": str(error)}
        return {**found, "wall_seconds": time.monotonic() - started, "gpu": watch.record}

    def _begin(self) -> dict[str, Any]:
        environment = describe_environment()
        identity = {
            "accelerator": describe_accelerator(self.device),
            "packages": environment["packages"],
            "sources": hash_of_sources(*MEASURED_SOURCES),
            "is_rehearsal": self.is_rehearsal,
        }
        if not self.path.exists():
            return {"identity": identity, "environment": environment, "parts": {}, "left_out": []}
        record = parse_json(read_bounded(self.path, limit=MAX_JSON_BYTES))
        if record.get("identity") != identity:
            raise UserError(f"{self.path} is of another GPU, driver, package or source: name another --json")
        return record

    def _write(self, parts: Sequence[Part]) -> None:
        self.record["left_out"] = [part.name for part in parts if part.name not in self.record["parts"]]
        write_atomically(self.path, (json.dumps(self.record, indent=1) + "\n").encode())

    def python(self, *words: object, environment: Mapping[str, str] | None = None, kill_when: Any = None) -> str:
        """What one of our modules prints, in a process of its own; RunFailedError if it fails or takes too long.

        `kill_when` is asked all the while, and once it says so the process is killed as by a power cut.
        """
        command = [sys.executable, "-m", *map(str, words)]
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = self.children.start(
                command,
                self.num_threads,
                stdout=output.fileno(),
                stderr=errors.fileno(),
                extra_environment=environment,
            )
            while process.poll() is None:
                if time.monotonic() > self._ends:
                    process.terminate()
                    process.wait()
                    raise RunFailedError(f"{' '.join(command[2:5])} took too long, and was ended")
                if kill_when is not None and kill_when():
                    process.kill()
                time.sleep(0.05)
            self.children.check()
            errors.seek(0)
            if process.returncode not in (0, -signal.SIGKILL if kill_when else 0):
                raise RunFailedError(last_words(process.returncode, errors.read()))
            output.seek(0)
            return output.read()

    def measured(self, framework: str, *flags: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What `measure` of one framework finds."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "measured.json"
            self.python(f"{framework}_impl", "measure", f"--json={path}", *flags, *self.flags, environment=environment)
            return json.loads(path.read_text())

    @property
    def flags(self) -> list[str]:
        """Where everything runs."""
        return [f"--device={self.device}", f"--threads={self.num_threads}"]
