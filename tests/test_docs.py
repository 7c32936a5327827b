"""The documentation is true: files, links and flags exist, made parts are fresh, and sentences are short."""

import ast
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from common.commands.dispatch import TWIN_COMMANDS
from common.options import parse
from tests.documented_commands import ELSEWHERE, NOT_PROSE, NOT_RUN, PAGES, ROOT, RUN, shown

README = ROOT / "README.md"
SOURCES = [path for room in ("common", "comparison", "torch_impl", "jax_impl") for path in (ROOT / room).rglob("*.py")]
ROOMS = "common|comparison|torch_impl|jax_impl|tests|scripts|docs"
FILE = re.compile(rf"(?<![\w/.-])(?:{ROOMS})/[\w/.-]+\.(?:py|md|json|toml|jinja)\b")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
MADE = re.compile(r"<!-- (\w[\w ]*): made by .*?<!-- end of \1 -->", re.DOTALL)
CODE = re.compile(r"^```.*?^```|^(?: {4}|\t).*?$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
by_name = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@by_name
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    named = [ROOT / name for name in FILE.findall(text)]
    named += [page.parent / target for target, _ in LINK.findall(text) if target]
    assert [str(path) for path in named if not path.exists()] == []


@by_name
def test_every_heading_that_a_page_links_to_exists(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        other = page.parent / target if target else page
        if anchor and other.suffix == ".md":
            assert anchor[1:] in anchors(other), f"{other} has no heading {anchor}"


def anchors(page: Path) -> set[str]:
    """As GitHub and the site make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_file_that_a_source_file_names_exists():
    named = {(path, name) for path in SOURCES for name in FILE.findall(path.read_text(encoding="utf-8"))}
    assert [f"{path}: {name}" for path, name in named if not (ROOT / name).exists()] == []


def test_a_source_file_of_more_than_250_lines_says_at_its_top_why():
    unexplained = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(text)) or ""
        if len(text.splitlines()) > 250 and not re.search(r"\blong\b", said, re.IGNORECASE):
            unexplained.append(str(path.relative_to(ROOT)))
    assert unexplained == []


def test_the_rooms_have_at_most_six_loose_modules_each():
    for room in ("common", "comparison"):
        loose = [path.stem for path in (ROOT / room).glob("*.py") if path.stem != "__init__"]
        assert len(loose) <= 6, loose


def test_the_readme_is_short_and_has_no_number_that_was_typed():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    typed = CODE.sub("", MADE.sub("", text))
    assert re.findall(r"\d+", LINK.sub("", typed)) == []


def test_the_citation_file_has_the_version_and_licences_of_the_project():
    citation, project = (ROOT / "CITATION.cff").read_text(encoding="utf-8"), (ROOT / "pyproject.toml").read_text()
    version, licences = (re.search(rf'^{name} = "(.+)"$', project, re.MULTILINE) for name in ("version", "license"))
    assert version is not None
    assert licences is not None
    assert f'version: "{version[1]}"' in citation
    assert re.findall(r"^  - ([A-Z][\w.-]+)$", citation.partition("keywords")[0], re.MULTILINE) == licences[1].split(
        " AND "
    )


# Flags that need what is not there while tests run.
NEEDS = ("--resume", "scripts/", "make ", "pip ", "-m venv", "-m comparison.publish", "--help", "$((")
COMMAND = re.compile(
    r"^(?: {4}|\$ )?(python (?:compare\.py|-m (?:torch_impl|jax_impl|common\.evaluation))(?: .*)?)$", re.M
)
COMMANDS = [
    (page.relative_to(ROOT).as_posix(), command)
    for page in PAGES
    if page.name not in NOT_PROSE
    for command in COMMAND.findall(page.read_text(encoding="utf-8"))
    if not any(word in command for word in NEEDS)
]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_of_the_documentation_is_one_that_the_program_takes(page, command):
    import importlib

    from comparison.commands.dispatch import COMMANDS as COMPARE

    words = [word for word in shlex.split(command, comments=True) if word != "..."][1:]
    if words[0] == "compare.py":
        commands, words = COMPARE, words[1:]
    elif words[1] == "common.evaluation":
        from common.evaluation.__main__ import Arguments

        parse(Arguments, words[2:], program="")
        return
    else:
        commands, words = TWIN_COMMANDS, words[2:]
    is_named = bool(words) and not words[0].startswith("-")
    found = commands[words[0] if is_named else next(iter(commands))]
    parse(getattr(importlib.import_module(found.module), found.options), words[is_named:], program="")


@pytest.mark.parametrize("command", shown())
def test_a_command_of_the_documentation_is_run_by_one_test_or_has_a_reason_why_not(command):
    takers = [run.shown for run in RUN if run.shown == command]
    takers += [pattern for pattern in (*ELSEWHERE, *NOT_RUN) if fnmatchcase(command, pattern)]
    assert len(takers) == 1, f"{shown()[command]} shows {command}: put it into tests/documented_commands.py once"


def test_no_command_is_listed_that_no_page_shows():
    patterns = [*ELSEWHERE, *NOT_RUN]
    assert {run.shown for run in RUN} - set(shown()) == set()
    assert [pattern for pattern in patterns if not any(fnmatchcase(command, pattern) for command in shown())] == []
    assert [test for test in ELSEWHERE.values() if not (ROOT / test).exists()] == []


WIDEST_TABLE = 6  # columns, where people read them on a phone


@by_name
def test_tables_are_narrow(page):
    if page.name in NOT_PROSE:
        return
    rules = re.findall(r"^\|(?:[\s:]*-+[\s:]*\|)+$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [rule for rule in rules if rule.count("|") - 1 > WIDEST_TABLE] == []


LONGEST_SENTENCE = 25  # words
# Pages whose sentences are older than this rule, each with the reason; a page that is rewritten leaves the list.
LONG_WINDED = {
    "docs/results/default/report.md": "made with a recorded run, in the words that reports had then",
}
SENTENCE_END = re.compile(r'(?<=[.!?:])["*)]*\s+(?=["(*`\[A-Z0-9])')


def long_sentences(page: Path) -> list[str]:
    text = CODE.sub("Code", MADE.sub("", page.read_text(encoding="utf-8")))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#>]|\d+\.) )|\|", text)
    sentences = [sentence for block in blocks for sentence in SENTENCE_END.split(" ".join(block.split()))]
    return [sentence for sentence in sentences if len(re.findall(r"\w[\w'.,-]*", sentence)) > LONGEST_SENTENCE]


@by_name
def test_sentences_are_short(page):
    name = page.relative_to(ROOT).as_posix()
    if name in LONG_WINDED:
        assert long_sentences(page), f"{name} has no long sentence any more: take it out of LONG_WINDED"
    else:
        assert long_sentences(page) == []
