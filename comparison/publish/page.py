"""What every module that writes docs/results does: its command line, the files it is named, and a page's made parts."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import UserError, report_errors
from common.records.folder import read_json, write_atomically

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


def run_publisher(description: str | None, publish: Callable[[list[Path]], None], *, num_paths: range) -> int:
    """The exit code of `publish` with the paths on the command line; `description` begins with how to call it."""
    usage = (description or "").split(":")[0]

    def main() -> int:
        if sys.argv[1:] in (["-h"], ["--help"]):
            print(description)
            return 0
        if len(sys.argv) - 1 not in num_paths:
            raise UserError(f"wrong number of paths: {usage}")
        publish([Path(argument) for argument in sys.argv[1:]])
        return 0

    return report_errors(" ".join(usage.split()[:3]), main)


def read_result(path: Path, advice: str) -> dict[str, Any]:
    """The JSON file; UserError with the advice where there is none."""
    if not (found := read_json(path)):
        raise UserError(f"{path} is missing: {advice}")
    return found


def part(page: str, name: str) -> re.Match[str]:
    """What stands between the lines `<!-- NAME: ... -->` and `<!-- end of NAME -->`, as group 2."""
    found = re.search(rf"(<!-- {name}: .*?-->\n)(.*?)(\n<!-- end of {name} -->)", page, re.DOTALL)
    assert found, f"the page has lost its markers of {name}"
    return found


def with_part(page: str, name: str, content: str) -> str:
    """The page with the named part replaced by `content`; the words around it stay."""
    found = part(page, name)
    return f"{page[: found.start()]}{found[1]}{content.strip()}{found[3]}{page[found.end() :]}"


def replace_parts(path: Path, parts: dict[str, str]) -> None:
    """Write the page with each named part replaced by its new content."""
    page = path.read_text(encoding="utf-8")
    for name, content in parts.items():
        page = with_part(page, name, content)
    write_atomically(path, page.encode())
