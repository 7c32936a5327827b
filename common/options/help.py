"""What `--help` and `--help-all` print of a command's options class; tyro's own help cannot leave a flag out.

`--help` gives each flag one line, the first sentence of its docstring, and leaves rare flags to `--help-all`.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import tyro

from common.networks.presets import PRESETS

WIDTH = 80
INDENT = 2
GROUPS = ("Arguments", "Flags", "Common", "Model", "Recipe", "Machine", "Output")
# A flag stands in the group of the class that declares it, unless it is named below.
GROUP_OF_CLASS = {"TrainConfig": "Recipe", "DeviceOptions": "Machine", "RunOptions": "Output"}
GROUP_OF_FLAG = {
    **dict.fromkeys(("preset", "epochs", "seed", "dataset", "data_dir", "resume", "dry_run"), "Common"),
    **dict.fromkeys(("variant", "precision", "image_size", "latent_dim", "initialization"), "Model"),
    "generator_average": "Model",
    "turns": "Machine",
    "output": "Output",
    "certify": "Output",
}
RARE = {
    *("image_size", "latent_dim", "initialization", "generator_average", "learning_rate_generator"),
    *("learning_rate_discriminator", "beta1", "beta2", "real_target", "fake_target", "generator_target"),
    *(
        "generator_updates",
        "generator_latents",
        "draws",
        "train_size",
        "skip_epoch_quality",
        "features",
        "deterministic",
    ),
    *("steps_per_block", "num_blocks", "quality_epochs", "num_warm_up_blocks"),
}
KINDS = {int: "N", float: "X", str: "NAME", Path: "PATH"}
NUM_PRESETS_SHOWN = 4
LONGEST_CHOICE, LONGEST_FLAG = 20, 25  # characters; a longer choice is shown by `--help-all`
HELP, HELP_ALL = ("-h", "--help"), "--help-all"


class Flag(NamedTuple):
    """One field of an options class, as a person types it."""

    name: str  # --batch-size, or PATH of an argument
    value: str  # N, auto|cpu|gpu; empty for a switch
    default: str  # empty where there is none to show
    text: str  # its docstring on one line
    group: str
    is_rare: bool

    @property
    def typed(self) -> str:
        """`--batch-size N`."""
        return f"{self.name} {self.value}".strip()

    @property
    def shown_default(self) -> str:
        """` [64]`, or nothing."""
        return f" [{self.default}]" if self.default else ""

    @property
    def first_sentence(self) -> str:
        """What `--help` says of it."""
        end = self.text.find(". ")
        return (self.text if end < 0 else self.text[:end]).rstrip(".")


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether `-h`, `--help` or `--help-all` is among the arguments."""
    return any(argument in (*HELP, HELP_ALL) for argument in arguments)


def help_of(
    kind: type,
    default: Any,
    *,
    program: str,
    examples: Mapping[str, str],
    everything: bool,
    commands: Sequence[str] = (),
) -> str:
    """The help of a command whose flags are `kind` and whose defaults are those of the instance `default`, if any.

    With `commands`, the lines that say what a program can do, it is the program's: they stand first, then common flags.
    """
    flags = [flag for flag in flags_of(kind, default) if not commands or flag.group == "Common"]
    shown = flags if everything else [flag for flag in flags if not flag.is_rare]
    words = "".join(f" {flag.typed}" for flag in flags if flag.group == "Arguments")
    description = " ".join((inspect.getdoc(kind) or "").split())
    lines = list(commands) or [f"usage: {program}{words} [FLAGS]", "", *_wrapped(description), ""]
    if not everything:
        shown = [flag._replace(value="KIND" if len(flag.value) > LONGEST_CHOICE else flag.value) for flag in shown]
    column = INDENT + 2 + max((len(flag.typed) for flag in shown if len(flag.typed) <= LONGEST_FLAG), default=0)
    for group in GROUPS:
        of_group = [flag for flag in shown if flag.group == group]
        if of_group:
            lines.append(group)
            lines += [line for flag in of_group for line in (_long(flag) if everything else _short(flag, column))]
    whole_program = program if commands else program.rpartition(" ")[0]
    if any(flag.name == "--resume" for flag in flags):
        lines += _presets(column, everything=everything, program=whole_program)
    if examples:
        typed = {f"{whole_program} {words}".strip(): what for words, what in examples.items()}
        width = max(map(len, typed))
        lines += ["Examples", *(f"{'':{INDENT}}{words:<{width}}  {what}".rstrip() for words, what in typed.items())]
    if commands:
        lines.append("All flags of a command: COMMAND --help. The version: --version.")
    elif not everything:
        num_left = len(flags) - len(shown)
        left = f"{num_left} more flags, and " if num_left else ""
        lines.append(f"[Brackets] hold defaults. --help-all: {left}more of each flag.")
    return "\n".join(lines)


def flags_of(kind: type, default: Any = None) -> Iterator[Flag]:
    """Every field of an options class, a config's among them, in the order in which they are declared."""
    hints, texts = get_type_hints(kind, include_extras=True), _docstrings(kind)
    for field in fields(kind):
        hint, metadata = _plain(hints[field.name])
        inner = next((part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part)), None)
        if inner is not None:
            yield from flags_of(inner, getattr(default, field.name, None))
            continue
        text, owner = texts[field.name]
        is_argument = tyro.conf.Positional in metadata
        value = _value(hint, metadata)
        name = f"--{field.name.replace('_', '-')}"
        start = _default(field, default)
        if is_argument:
            name, value = (value if value not in KINDS.values() else field.name.upper()), ""
        elif start is True:
            name = f"--no-{field.name.replace('_', '-')}"
        group = "Arguments" if is_argument else GROUP_OF_FLAG.get(field.name, GROUP_OF_CLASS.get(owner, "Flags"))
        shown = "" if start in (None, "", ()) or isinstance(start, bool) or is_argument else str(start)
        yield Flag(name, value, shown, " ".join(text.split()), group, field.name in RARE)


def _default(field: "Field[Any]", default: Any) -> Any:
    value = getattr(default, field.name) if default is not None else field.default
    return None if value is MISSING or value is tyro.MISSING else value


def _plain(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and they."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[0], hint.__metadata__
    return hint, ()


def _value(hint: Any, metadata: tuple[Any, ...]) -> str:
    named = next((found for part in metadata if (found := getattr(part, "metavar", None))), None)
    if named:
        return named
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kind = _plain(next(part for part in kinds if part is not types.NoneType))[0]
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return "" if kind is bool else KINDS.get(kind, "NAME")


def _docstrings(kind: type) -> dict[str, tuple[str, str]]:
    """Field -> the string below it and the name of the class that declares it; the most derived class wins."""
    found = {}
    for owner in reversed(kind.__mro__):
        if not is_dataclass(owner):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, [*body.body[1:], None], strict=True):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = (words, owner.__name__)
                case ast.AnnAssign(target=ast.Name(id=name)), _:
                    found[name] = ("", owner.__name__)
    return found


def _short(flag: Flag, column: int) -> list[str]:
    said = _wrapped(f"{flag.first_sentence}{flag.shown_default}", indent=column)
    typed = f"{'':{INDENT}}{flag.typed}"
    if len(typed) + 2 > column:
        return [typed, *said]
    return [f"{typed:<{column}}{said[0].strip()}", *said[1:]]


def _long(flag: Flag) -> list[str]:
    return [f"{'':{INDENT}}{flag.typed}{flag.shown_default}", *_wrapped(flag.text, indent=6)]


def _presets(column: int, *, everything: bool, program: str) -> list[str]:
    shown = PRESETS if everything else dict(list(PRESETS.items())[:NUM_PRESETS_SHOWN])
    column = max(column, INDENT + 2 + max(map(len, shown)))
    lines = ["Presets", *(f"{'':{INDENT}}{name:<{column - INDENT}}{preset.phrase}" for name, preset in shown.items())]
    if not everything:
        lines.append(f"{'':{INDENT}}{f'{len(PRESETS) - len(shown)} more':<{column - INDENT}}{program} list")
    return lines


def _wrapped(text: str, *, indent: int = 0) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
