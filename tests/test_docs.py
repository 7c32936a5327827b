"""What the documentation names exists: a page that points at a file that has moved sends its reader nowhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [path for room in ("common", "comparison", "torch_impl", "jax_impl") for path in (ROOT / room).rglob("*.py")]
ROOMS = "common|comparison|torch_impl|jax_impl|tests|scripts|docs"
FILE = re.compile(rf"(?<![\w/.-])(?:{ROOMS})/[\w/.-]+\.(?:py|md|json|toml|jinja)\b")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    named = [ROOT / name for name in FILE.findall(text)] + [page.parent / target for target in LINK.findall(text)]
    assert [str(path) for path in named if not path.exists()] == []


def test_every_file_that_a_source_file_names_exists():
    named = {(path, name) for path in SOURCES for name in FILE.findall(path.read_text(encoding="utf-8"))}
    assert [f"{path}: {name}" for path, name in named if not (ROOT / name).exists()] == []
