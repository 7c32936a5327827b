"""Ctrl-C, SIGTERM and a closed terminal: a request that training honours between two chunks, scoring at once."""

import signal
from abc import ABC, abstractmethod
from types import FrameType
from typing import Self

from common.errors import Stopped


class SignalWatch(ABC):
    """Within it, SIGINT, SIGTERM and SIGHUP go to `_receive` instead of ending the process; nohup's SIGHUP nowhere."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._previous: dict[int, signal.Handlers | signal._HANDLER] = {}

    def __enter__(self) -> Self:
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        for number in (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,))):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @abstractmethod
    def _receive(self, number: int, frame: FrameType | None) -> None: ...


class StopRequest(SignalWatch):
    """True once a signal came. A second one raises `Stopped`, and so does the first if `at_once` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = False
        self._has_raised = False

    def __bool__(self) -> bool:
        return self.signal_number != 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signal_number

    def raise_if_asked(self) -> None:
        """Raise `Stopped` if a signal has come, but never twice: it must not disturb what is still written down."""
        if self and not self._has_raised:
            self._has_raised = True
            raise Stopped(self.signal_number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second = self.signal_number != 0
        self.signal_number = number
        if is_second or self.at_once:
            self.raise_if_asked()
