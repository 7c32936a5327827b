"""Trains both frameworks at once, one epoch each in turn: `common/training/turns.py` has the other end of the pipes.

Each half is a process that waits in a read until it is its turn, so that one alone computes at any moment, and what
else the machine does meets both. Rounds go A B, B A, A B. A half that ends early lets the other go on by itself. After
the last round each has one turn more, for its samples and scores.
"""

import contextlib
import itertools
import queue
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

from common.records.folder import FRAMEWORK_NAMES
from common.stages import Echo
from common.stages.telling import TELLS_VARIABLE, split_line
from common.training.turns import EPOCH, FINISH, TURNS_VARIABLE
from comparison.both_bars import BothBars
from comparison.processes import USER_ERROR, Children


class Half:
    """One framework's process, from its start on."""

    def __init__(self, framework: str, process: subprocess.Popen[str]) -> None:
        self.framework = framework
        self.process = process
        self.wants = ""  # what it gave its turn back for; nothing while it has the turn
        self.code: int | None = None  # once it has ended
        self.stages = Echo()

    @property
    def has_the_turn(self) -> bool:
        """Whether it computes."""
        return self.code is None and not self.wants

    def hand_turn(self, round_began_at: str) -> None:
        """Let it compute; one that has just been killed never reads it."""
        self.wants = ""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(f"{round_began_at}\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Nobody will give it turns any more: it ends as if told to stop."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()


class TurnTaking:
    """The halves of one comparison, and what they write."""

    def __init__(self, children: Children, num_threads: int, bars: BothBars) -> None:
        self.halves: list[Half] = []
        self._children = children
        self._num_threads = num_threads
        self._bars = bars
        # A line of a half's stdout, of its stderr, or None at the end of its stdout.
        self._written: queue.SimpleQueue[tuple[Half, str | None, bool]] = queue.SimpleQueue()

    def run(self, commands: Mapping[str, list[str]]) -> dict[str, int]:
        """Train and score all of them; the exit code of each that was started, by framework."""
        for framework, command in commands.items():
            half = self._start(framework, command)
            self._until_given_back(half)
            if half.code == USER_ERROR or self._children.signal_number:
                break
        else:
            self._train()
            self._finish()
        for half in self.halves:
            half.dismiss()
        while any(half.code is None for half in self.halves):
            self._take_in()
        return {half.framework: half.code for half in self.halves if half.code is not None}

    def _train(self) -> None:
        for number in itertools.count():
            training = self._waiting_for(EPOCH)
            if not training or self._children.signal_number:
                return
            began_at = datetime.now(UTC).isoformat()
            for half in training if number % 2 == 0 else reversed(training):
                self._give_turn(half, began_at)

    def _finish(self) -> None:
        for half in self._waiting_for(FINISH):
            self._give_turn(half, datetime.now(UTC).isoformat())

    def _waiting_for(self, wanted: str) -> list[Half]:
        return [half for half in self.halves if half.code is None and half.wants == wanted]

    def _start(self, framework: str, command: list[str]) -> Half:
        pipe = subprocess.PIPE
        process = self._children.start(
            command,
            self._num_threads,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            extra_environment={TURNS_VARIABLE: "1", TELLS_VARIABLE: "1"},
        )
        half = Half(framework, process)
        self.halves.append(half)
        errors = threading.Thread(target=self._listen, args=(half, process.stderr, True), daemon=True)
        errors.start()
        threading.Thread(target=self._listen, args=(half, process.stdout, False, errors), daemon=True).start()
        return half

    def _listen(self, half: Half, lines: IO[str], is_error: bool, before: threading.Thread | None = None) -> None:
        with lines:
            for line in lines:
                self._written.put((half, line.removesuffix("\n"), is_error))
        if before is not None:
            before.join()  # what it said of its end comes before its end
            self._written.put((half, None, is_error))

    def _give_turn(self, half: Half, round_began_at: str) -> None:
        if half.code is None and not self._children.signal_number:
            half.hand_turn(round_began_at)
            self._bars.turn_begins(half.framework)
            self._until_given_back(half)
            self._bars.turn_ends(half.framework)

    def _until_given_back(self, half: Half) -> None:
        while half.has_the_turn:
            self._take_in()

    def _take_in(self) -> None:
        """The next line of any half; a waiting one may have been killed."""
        half, line, is_error = self._written.get()
        if line is None:
            half.code = half.process.wait()
            half.dismiss()
            half.stages.close()
            self._bars.ended(half.framework)
            others = [FRAMEWORK_NAMES[other.framework] for other in self.halves if other.code is None]
            if half.code not in (0, USER_ERROR) and others and not self._children.signal_number:
                self._bars.say(f"{FRAMEWORK_NAMES[half.framework]} has ended early; {others[0]} goes on by itself")
            return
        words, told = split_line(line)
        if words is not None:
            self._bars.say(words, is_error=is_error)
        half.wants = told.pop("wants", half.wants)
        half.stages.hear(told)
        if "stage" not in told:
            self._bars.told(half.framework, told)
