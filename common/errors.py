"""How a command ends early: the user can mend it (exit code 2), the run failed (1), or a signal came (129, 130, 143).

Imports nothing heavy: Ctrl-C may come early.
"""

import signal
import sys
import traceback
from collections.abc import Callable

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
    try:
        code = command()
        if reason := what_was_lost():
            print(f"{program}: not everything that was printed could be written ({reason})", file=sys.stderr)
        return code
    except UserError as error:
        print(f"{program}: {printable(str(error))}", file=sys.stderr)
        return 2
    except (RunFailedError, OSError) as error:
        print(f"{program}: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"{program}: stopped", file=sys.stderr)
        return exit_code(stop)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = (str(error) or "no message").splitlines()[0]
        print(
            f"{program}: {type(error).__name__}: {reason} ({place.name}, line {place.lineno} of {place.filename}): "
            "a defect of this program, please report it",
            file=sys.stderr,
        )
        return 1
