"""What both processes stood on, said once; what differs between them, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from comparison.text import NOTHING, Row, memory

# The command is shown by itself; names are in the headings; hashes and the past are for the machine.
LEFT_OUT = ("command", "framework", "framework_name", "past", "package_hashes")


class Environments(NamedTuple):
    """Rows of one cell for what is equal, and of a cell for each framework for what is not."""

    shared: list[Row]
    different: list[Row]


def environment_rows(environments: Mapping[str, Mapping[str, Any]]) -> Environments:
    """Every field of environment.json but those left out; packages and variables are compared one by one."""
    found = Environments([], [])
    for name in dict.fromkeys(name for environment in environments.values() for name in environment):
        if name in LEFT_OUT:
            continue
        values = [environment.get(name) for environment in environments.values()]
        parts = [value for value in values if isinstance(value, dict)]
        if len(parts) == len(values):
            _add_parts(found, name, parts)
        elif all(value == values[0] for value in values):
            found.shared.append(Row(_words(name), "", [_plain(name, values[0])]))
        else:
            found.different.append(Row(_words(name), "", [_plain(name, value) for value in values]))
    return found


def _add_parts(found: Environments, name: str, values: Sequence[Mapping[str, Any]]) -> None:
    keys = list(dict.fromkeys(key for value in values for key in value))
    same = [key for key in keys if all(key in value and value[key] == values[0][key] for value in values)]
    if same:
        found.shared.append(Row(_words(name), "", [", ".join(f"{key} {_one(values[0][key])}" for key in same)]))
    for key in keys:
        if key not in same:
            cells = [_one(value[key]) if key in value else NOTHING for value in values]
            found.different.append(Row(f"{_words(name)}: {key}", "", cells))


def _plain(name: str, value: Any) -> str:
    if name == "memory_bytes":
        return memory(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_one(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else _one(value)


def _one(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return f"{value:,}" if type(value) is int else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
