"""The files of a comparison's folder, each that exists by a link, and pages whose folder has not all of them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from common.records.folder import COMPARISON_FILE, FILES

WRITTEN_WITH_THE_REPORT = (COMPARISON_FILE, "report.html", "report.md", "figures")
HTML_LINE = re.compile(r'^<li class="file">(?!.*<a ).*\n', re.MULTILINE)  # without a link
HTML_LINK = re.compile(r'<a data-file="([^"]+)"[^>]*>(.*?)</a>')
MARKDOWN_LINE = re.compile(r"^\| \[[^]]+\]\(([^)]+)\) \|.*\n", re.MULTILINE)


class LinkedFile(NamedTuple):
    """A path within the folder, the same for a link, and what the file holds."""

    path: str
    link: str
    holds: str


def linked_files(folder: Path, frameworks: Sequence[str]) -> list[LinkedFile]:
    """In the order in which `FILES` declares them; what the report itself writes counts as there."""
    found = []
    for pattern, holds in FILES.items():
        names = [pattern.replace("*", framework) for framework in frameworks] if "*" in pattern else [pattern]
        there = [name for name in names if name in WRITTEN_WITH_THE_REPORT or (folder / name).exists()]
        found += [LinkedFile(name, quote(name), holds) for name in there]
    return found


def by_content(files: Sequence[LinkedFile]) -> dict[str, list[LinkedFile]]:
    """Files that hold the same of each framework together."""
    return {
        holds: [found for found in files if found.holds == holds] for holds in dict.fromkeys(f.holds for f in files)
    }


def without_dead_links(page: str, folder: Path) -> str:
    """A report for a folder to which not all files were copied: lines on others go, and links to them become words."""

    def there(found: re.Match[str]) -> bool:
        return (folder / unquote(found[1])).exists()

    page = HTML_LINK.sub(lambda found: found[0] if there(found) else found[2], page)
    page = MARKDOWN_LINE.sub(lambda found: found[0] if there(found) else "", page)
    return HTML_LINE.sub("", page)
