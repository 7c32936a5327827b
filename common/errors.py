"""How a command ends early: the user can mend it (exit code 2), the run failed (1), or a signal came (129, 130, 143).

Imports nothing heavy: Ctrl-C may come early.
"""

import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Self

from common.console import outlive_readers, printable, what_was_lost


class UserError(ValueError):
    """Something the user handed us is wrong; the message is one line that says what to do."""


class RunFailedError(RuntimeError):
    """A run that started as asked could not go on; the message says at which step and why."""


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end now; `signal_number` is SIGINT, as for Ctrl-C, SIGTERM or SIGHUP."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


def exit_code(stop: KeyboardInterrupt) -> int:
    """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (stop.signal_number if isinstance(stop, Stopped) else signal.SIGINT)


def report_errors(program: str, command: Callable[[], int]) -> int:
    """0 if all went well, 2 for what the user can mend, 1 for a failed run, 129, 130 or 143 if told to stop."""
    outlive_readers()
    with _NotedInterrupt() as interrupt:
        try:
            code = command()
            if reason := what_was_lost():
                print(f"{program}: not everything that was printed could be written ({reason})", file=sys.stderr)
            return code
        except KeyboardInterrupt as stop:
            print(f"{program}: stopped", file=sys.stderr)
            return exit_code(stop)
        except Exception as error:
            if interrupt.came:
                print(f"{program}: stopped", file=sys.stderr)
                return exit_code(KeyboardInterrupt())
            code, message = _told(error)
            print(f"{program}: {message}", file=sys.stderr)
            return code


class _NotedInterrupt:
    """Ctrl-C raises KeyboardInterrupt as ever; a library that makes another exception of it does not hide that it came.

    An import that is interrupted may end as an ImportError.
    """

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Self:
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.default_int_handler(number, frame)


def _told(error: Exception) -> tuple[int, str]:
    """The exit code of an error, and what is said of it."""
    if isinstance(error, UserError):
        return 2, printable(str(error))
    if isinstance(error, RunFailedError | OSError):
        return 1, printable(str(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = (str(error) or "no message").splitlines()[0]
    where = f"{place.name}, line {place.lineno} of {place.filename}"
    return 1, f"{type(error).__name__}: {reason} ({where}): a defect of this program, please report it"
