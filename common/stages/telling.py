"""What a process tells the one that has started it: lines with a mark and a JSON object, among those for people."""

import json
from typing import Any

from rich.console import Console

from common.stages.bar import Stage
from common.stages.displays import Nowhere

TELLS_VARIABLE = "DCGAN_TWINS_TELLS"  # set for a process whose parent shows its stages
MARK = "\x1e"  # ASCII's record separator, as before the texts of a JSON sequence


def tell(content: dict[str, Any]) -> None:
    """Write what is for the process above, after everything that was printed."""
    print(MARK + json.dumps(content), flush=True)


def split_line(line: str) -> tuple[str | None, dict[str, Any]]:
    """What a line of such a process has for people, None if it has nothing, and what it tells."""
    words, is_told, told = line.removesuffix("\n").partition(MARK)
    return words if words or not is_told else None, json.loads(told) if is_told else {}


class ToParent(Nowhere):
    """Tells of stages, of each at most once a hundredth; `Echo` is the other end."""

    def __init__(self, console: Console, prefix: str) -> None:
        super().__init__(console)
        self._prefix = prefix
        self._told: dict[int, tuple[int, str]] = {}

    def began(self, stage: Stage) -> None:
        """With all that its bar needs."""
        name = f"{self._prefix}{stage.name}"
        tell({"stage": {"id": id(stage), "name": name, "total": stage.total}})

    def changed(self, stage: Stage) -> None:
        """How far it is."""
        now = (int(100 * stage.share), stage.part)
        if self._told.get(id(stage)) != now:
            self._told[id(stage)] = now
            tell({"stage": {"id": id(stage), "done": stage.done, "part": stage.part}})

    def ended(self, stage: Stage, *, is_whole: bool) -> None:
        """So that nothing is left of it there either."""
        self._told.pop(id(stage), None)
        tell({"stage": {"id": id(stage), "is_whole": is_whole}})
