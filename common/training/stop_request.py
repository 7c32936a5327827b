"""Ctrl-C and SIGTERM as a request that the training loop honours between two chunks, and scoring at once."""

import signal
from types import FrameType, TracebackType
from typing import Self

from common.errors import Stopped


class StopRequest:
    """True once a signal came. A second one raises `Stopped`, and so does the first if `at_once` is set."""

    def __init__(self) -> None:
        self.signal_number = 0
        self.at_once = False
        self._has_raised = False
        self._previous: dict[int, signal.Handlers | signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signal_number != 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second = self.signal_number != 0
        self.signal_number = number
        if (is_second or self.at_once) and not self._has_raised:  # a third must not disturb what is still written down
            self._has_raised = True
            raise Stopped(number)
