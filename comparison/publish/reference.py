"""python -m comparison.publish.reference: the made pages of docs/reference, and the list of decisions.

Commands and flags, presets, metrics and files: each is declared once, in the code, and printed here.
"""

import importlib
import sys
from pathlib import Path

from common.commands.dispatch import TWIN_COMMANDS
from common.evaluation.catalogue import METRICS
from common.networks.build import count_parameters
from common.networks.presets import PRESETS
from common.options import help_for
from common.options.help import HELP_ALL
from common.records.folder import FILES, write_atomically
from comparison.commands.dispatch import COMMANDS
from comparison.publish.page import ROOT, run_publisher
from comparison.publish.systems_tables import architecture_of_preset
from comparison.text import markdown

DOCS = ROOT / "docs"
MADE = "<!-- made by python -m comparison.publish.reference, do not edit -->"
PROGRAMS = {"python compare.py": COMMANDS, "python -m torch_impl": TWIN_COMMANDS}


def publish(_paths: list[Path]) -> None:
    """Write every page anew."""
    for name, content in pages().items():
        write_atomically(DOCS / name, content.encode())


def pages() -> dict[str, str]:
    """Path below docs -> the page's whole text."""
    return {
        name: f"# {title}\n\n{MADE}\n\n{content.strip()}\n"
        for name, title, content in (
            ("reference/cli.md", "Commands", commands()),
            ("reference/presets.md", "Presets", presets()),
            ("reference/metrics.md", "Metrics", metrics()),
            ("reference/files.md", "Files", files()),
            ("decisions/index.md", "Decisions", decisions()),
        )
    }


def commands() -> str:
    """What `--help-all` says of every command."""
    sections = [
        "`--help` of each command fits a screen. This is what `--help-all` says.",
        "`python -m jax_impl` has the same commands as `python -m torch_impl`.",
    ]
    for program, found in PROGRAMS.items():
        for name, command in found.items():
            kind = getattr(importlib.import_module(command.module), command.options)
            text = help_for(kind, [HELP_ALL], program=f"{program} {name}", examples=command.examples)
            sections.append(f"## {program} {name}\n\n```text\n{text}\n```")
    return "\n\n".join(sections)


def presets() -> str:
    """Every preset with its recipe and the sizes of its networks."""
    rows = [("preset", "what it is", "pixels", "batch", "epochs", "parameters (G / D)")]
    for name, preset in PRESETS.items():
        recipe, counts = preset.recipe, count_parameters(architecture_of_preset(name))
        sizes = f"{counts['generator']:,} / {counts['discriminator']:,}"
        numbers = (str(recipe.image_size), str(recipe.batch_size), str(recipe.epochs))
        rows.append((f"`{name}`", preset.phrase, *numbers, sizes))
    return markdown(rows)


def metrics() -> str:
    """Every metric of samples, and which way is better."""
    directions = {"up": "more", "down": "less", "": "-"}
    rows = [("metric", "name in files", "kind", "better", "meaning")]
    rows += [(m.title, f"`{name}`", m.group, directions[m.better], m.meaning) for name, m in METRICS.items()]
    return markdown(rows)


def files() -> str:
    """What a comparison's folder holds."""
    rows = [("file", "content"), *((f"`{name.replace('*', '{torch,jax}')}`", text) for name, text in FILES.items())]
    return f"What stands in a comparison's folder, `runs/NAME`.\n\n{markdown(rows)}"


def decisions() -> str:
    """Every decision by its title."""
    lines = [
        "Why things are as they are, one page each. A decision is superseded, never changed; only its words may become "
        "plainer.\n"
    ]
    for path in sorted((DOCS / "decisions").glob("0*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1)))
