"""The two ways a command ends badly: the user can mend it (exit code 2), or the run failed (exit code 1)."""


class UserError(ValueError):
    """Something the user handed us is wrong; the message is one line that says what to do."""


class RunFailedError(RuntimeError):
    """A run that started as asked could not go on; the message says at which step and why."""
