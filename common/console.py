"""What a command prints to: it outlives its reader, and shows names from outside as they are."""

import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

STANDARD_STREAMS = ("stdin", "stdout", "stderr")


class LastingFile(io.RawIOBase):
    """Bytes to a file descriptor that may go away or be full: what cannot be written is lost, and no error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost = ""  # why something is, first

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: Any, /) -> int:
        try:
            return os.write(self._descriptor, content)
        except BrokenPipeError:  # whoever read has had enough, as `head` has
            pass
        except OSError as error:
            self.lost = self.lost or error.strerror or "no reason given"
        return len(content)


def outlive_readers() -> None:
    """Let stdout and stderr take everything: a closed terminal, a full disk and a foreign letter end no training."""
    for descriptor, name in enumerate(STANDARD_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file opened would take its place, and what is printed
            empty = os.open(os.devnull, os.O_RDWR)
            os.dup2(empty, descriptor)
            if empty != descriptor:
                os.close(empty)
        stream = getattr(sys, name)
        if descriptor == 0 or stream is not getattr(sys, f"__{name}__"):  # a test's, or another program's
            continue
        lasting = io.TextIOWrapper(
            io.BufferedWriter(LastingFile(descriptor)),
            encoding=stream.encoding if stream else "utf-8",
            errors="backslashreplace",
            line_buffering=stream is None or stream.line_buffering or name == "stderr",
            write_through=stream is not None and stream.write_through,
        )
        if stream:
            stream.flush()
        setattr(sys, name, lasting)


def what_was_lost() -> str:
    """Why not all of stdout could be written, or nothing."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, LastingFile) else ""


def make_console(*, width: int | None = None, stderr: bool = False) -> "Console":
    """The one kind of console here: brackets and colons in a name are no markup and no emoji."""
    from rich.console import Console

    return Console(width=width, stderr=stderr, markup=False, emoji=False, highlight=False)


def say(console: "Console", text: str, *, style: str = "") -> None:
    """A sentence, as one line however long: a terminal breaks it, a file keeps it whole."""
    from rich.text import Text

    console.print(Text(text, style=style), soft_wrap=True)


def draws_bars(console: "Console") -> bool:
    """Whether what is written can be written over: a file keeps all of it, and so does a dumb terminal."""
    return console.is_terminal and not console.is_dumb_terminal


def printable(text: str) -> str:
    """The text with line breaks and terminal escapes spelt out."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shell_word(text: object) -> str:
    """A word that a shell reads as this text: on one line and printable, whatever bytes a path has."""
    word = str(text)
    if word.isprintable():
        return shlex.quote(word)
    pieces = [
        character if character.isprintable() and character not in "\\'" else _escaped(character) for character in word
    ]
    return f"$'{''.join(pieces)}'"


def _escaped(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def stored_path(text: str) -> Path:
    """The path that `storable` spelt out: with the bytes that are no UTF-8."""
    return Path(re.sub(r"\\udc([89a-f][0-9a-f])", lambda found: chr(0xDC00 + int(found[1], 16)), text))


def storable(content: Any) -> Any:
    """JSON's values, with bytes that are no UTF-8 spelt out in its texts: a lone surrogate could not be read back."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, dict):
        return {storable(key): storable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [storable(value) for value in content]
    return content
