"""What is wrong with a command's flags, in plain words: tyro draws a box of titles, messages, help texts and rules."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

RULE = re.compile(r"^\s*[─-]{10,}$")
NAME = re.compile(r"^ {4}(--\S.*|[A-Z]\S*)$")  # of a flag or an argument; its help text is indented further
UNKNOWN, HINT, HINT_OF = "Unrecognized options:", "Perhaps you meant:", "Arguments similar to"
KINDS = {"invalid literal for int": "pass a whole number", "could not convert string to float": "pass a number"}


def in_plain_words(box: str, arguments: Sequence[str]) -> str:
    """One line that names the mistake and says what to do; of a kind that is not known here, tyro's own message."""
    sections = _sections(box)
    message = " ".join(line.strip() for line in sections[0]) if sections else ""
    known = _missing_or_unknown(sections, arguments) or _wrong_choice(message) or _wrong_value(message)
    return known or re.sub(r"^Error parsing (config|\w*Options): ", "", message).rstrip(".")


def _sections(box: str) -> list[list[str]]:
    """The lines between rules, without the frame and the title; boxes of plain ASCII have a rule below the title."""
    sections: list[list[str]] = [[]]
    for line in box.splitlines()[1:]:
        content = re.sub("^[│╰ ]{1,2}|[│╯ ]+$", "", line)
        if RULE.match(content):
            sections.append([])
        elif content:
            sections[-1].append(content)
    return [section for section in sections if section]


def _missing_or_unknown(sections: list[list[str]], arguments: Sequence[str]) -> str:
    missing = [name for section in sections if section[0].startswith("Missing from") for name in _names(section)]
    words = [word for section in sections if section[0].startswith(UNKNOWN) for word in _words(section)]
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    said = []
    if flags:
        hinted = next((_names(hint) for hint in sections if hint[0] in (HINT, f"{HINT_OF} {flags[0]}:")), [])
        like = get_close_matches(flags[0], [name.split()[0] for name in missing or hinted], n=1)
        missing = [name for name in missing if name.split()[0] not in like]
        meant = (like or [name.split()[0] for name in hinted])[:1]
        said.append(f"{flags[0]} is unknown: {f'did you mean {meant[0]}?' if meant else 'leave it out'}")
    elif words:
        whole = next((word for word in arguments if word.startswith(words[0])), words[0])  # a box breaks a long one
        said.append(f"{whole} is one word too many: leave it out, or put words that belong together in quotes")
    if missing:
        is_missing, it = ("is missing", "it") if len(missing) == 1 else ("are missing", "them")
        said.append(f"{' and '.join(missing)} {is_missing}: add {it}")
    return "; ".join(said)


def _names(section: list[str]) -> list[str]:
    return [found[1] for line in section[1:] if (found := NAME.match(line))]


def _words(section: list[str]) -> list[str]:
    """Those that tyro did not know: on the section's first line, or one a line below it."""
    return re.sub(",? +", " ", " ".join(section).removeprefix(UNKNOWN)).split()


def _wrong_choice(message: str) -> str:
    found = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", message)
    if found:
        choices = re.findall("'([^']*)'", found[3])
        return f"{found[2]} is {found[1]}: choose {', '.join(choices)}"
    found = re.match(r"Missing value for argument '(.*)'\.", message)
    if not found:
        return ""
    return f"{found[1]} has no value: add one" if found[1].startswith("-") else f"{found[1].upper()} is missing: add it"


def _wrong_value(message: str) -> str:
    """Of a flag whose value may be left out, tyro tells every type it tried; the value is quoted at the end."""
    found = re.match(r"Error parsing (\S+): (.*)$", message)
    kind = next((what_to_do for reason, what_to_do in KINDS.items() if found and reason in found[2]), "")
    if found is None or not kind:
        return ""
    value = found[2].rpartition(": ")[2].strip("'")
    return f"{found[1]} is {value}: {kind}"
