"""One side failed inside."""

from typing import Any

from common.errors import UserError


class SideError(UserError):
    """A person's module raised; `path` names the innermost one, and `calls` are those that had ended."""

    def __init__(self, message: str, path: str, calls: list[Any]) -> None:
        super().__init__(message)
        self.path, self.calls = path, calls
