"""A program's commands: which word starts which, their list in `--help`, and those of `python -m torch_impl`."""

import importlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from common.errors import UserError, report_errors

if TYPE_CHECKING:
    from common.contract import Framework

DISTRIBUTION = "dcgan-twins"


class Command(NamedTuple):
    """What a word starts: `main` of a module, which is imported only then, with `options` parsed for it."""

    module: str
    options: str  # the name of a dataclass in that module, whose docstring `--help` shows
    summary: str
    examples: Mapping[str, str] = MappingProxyType({})  # what to type -> what it does


LIST = Command("common.commands.list_presets", "ListOptions", "the presets: networks with their recipes")


class Twin(NamedTuple):
    """One framework as its commands see it: its name, and what imports it."""

    name: str
    load_framework: "Callable[[], Framework]"


def run_command(
    arguments: Sequence[str],
    commands: Mapping[str, Command],
    *context: object,
    program: str,
    description: str,
) -> int:
    """Start the command that the first word names, or the first one of `commands`; returns the exit code."""
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help"):
        print(list_commands(commands, arguments=arguments, program=program, description=description))
        return 0
    if first == "--version":
        print(f"{DISTRIBUTION} {version(DISTRIBUTION)}")
        return 0
    named = bool(arguments) and not first.startswith("-")
    name = first if named else next(iter(commands))
    if name not in commands:
        meant = [f"did you mean {word}? There are" for word in get_close_matches(name, commands, n=1)]
        raise UserError(f"{name} is unknown: {meant[0] if meant else 'choose'} {', '.join(commands)}")

    from common.console import make_console
    from common.options import parse
    from common.stages import shown_on

    _settle_dependencies()
    command = commands[name]
    module = importlib.import_module(command.module)
    kind = getattr(module, command.options)
    options = parse(kind, arguments[named:], program=f"{program} {name}", examples=command.examples)
    with shown_on(make_console()):
        return module.main(options, *context)


def _settle_dependencies() -> None:
    """What dependencies keep goes where ours does, and what they draw into a file; before they are imported."""
    from common.safe_read import cache_dir

    os.environ["MPLBACKEND"] = "agg"  # a notebook sets its own for every program it starts
    if (cache := cache_dir()) is not None:
        os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where it can keep no list of fonts


def list_commands(commands: Mapping[str, Command], *, arguments: Sequence[str], program: str, description: str) -> str:
    """What a program can do, with the common flags of its first command, which is the default."""
    from common.options import help_for

    first = next(iter(commands))
    column = 2 + max(map(len, commands))
    lines = [f"usage: {program} [COMMAND] [FLAGS]", "", description, "", "Commands"]
    for name, command in commands.items():
        lines.append(f"  {name:<{column}}{command.summary}{' (the default)' if name == first else ''}")
    command = commands[first]
    kind = getattr(importlib.import_module(command.module), command.options)
    return help_for(kind, arguments, program=program, examples=command.examples, commands=lines)


TWIN_COMMANDS = {
    "train": Command(
        "common.commands.train",
        "RunOptions",
        "train the DCGAN in this framework alone",
        {
            "train --preset smoke --dry-run": "check that all is ready",
            "train --preset smoke": "64 steps",
            "train --epochs 2 --seed 1": "two epochs, other numbers",
        },
    ),
    "sample": Command(
        "common.commands.sample",
        "SampleOptions",
        "images that a trained model generates",
        {"sample --pretrained --num 100 --out digits.png": "a grid"},
    ),
    "interpolate": Command(
        "common.commands.interpolate",
        "InterpolateOptions",
        "the way from one digit to another",
        {"interpolate --pretrained --from-class 6 --to-class 9": ""},
    ),
    "arithmetic": Command(
        "common.commands.arithmetic",
        "ArithmeticOptions",
        "digits added in the latent space",
        {'arithmetic --pretrained "7 - 1 + 0"': "their sum"},
    ),
    "features": Command("common.commands.filters", "FeaturesOptions", "what the discriminator's filters respond to"),
    "animate": Command("common.commands.animate", "AnimateOptions", "a run's sample grids as a GIF"),
    "list": LIST,
    "device": Command("common.commands.device", "CheckOptions", "where it would train, for compare.py"),
    "measure": Command("common.commands.measure_step", "MeasureOptions", "one step timed, for compare.py bench"),
}


def standalone(framework: str, load_framework: "Callable[[], Framework]", arguments: Sequence[str]) -> int:
    """`python -m torch_impl` or `python -m jax_impl`: a run, or what a checkpoint can show; returns the exit code."""
    program = f"python -m {framework}_impl"
    description = f"The DCGAN in {framework} alone: train it, and look at a trained one."
    twin = Twin(framework, load_framework)
    return report_errors(
        program, lambda: run_command(arguments, TWIN_COMMANDS, twin, program=program, description=description)
    )
