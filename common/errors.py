"""How a command ends early: the user can mend it (exit code 2), the run failed (1), or a signal came (130, 143)."""


class UserError(ValueError):
    """Something the user handed us is wrong; the message is one line that says what to do."""


class RunFailedError(RuntimeError):
    """A run that started as asked could not go on; the message says at which step and why."""


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end now; `signal_number` is SIGINT, as for Ctrl-C, or SIGTERM."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number
