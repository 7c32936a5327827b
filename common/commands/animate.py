"""`animate RUN`: training as a GIF, from the grids of fixed latents that a run recorded; asks no framework."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from common.commands.picture_files import check_out, write_out
from common.errors import UserError
from common.options import parse_flags
from common.records.folder import ANIMATION_FILE

if TYPE_CHECKING:
    from common.contract import Framework


@dataclass(frozen=True, kw_only=True)
class AnimateOptions:
    """Which run is shown, and where the animation goes."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """A run folder like runs/NAME/torch, or a comparison like runs/NAME, whose halves are shown side by side."""
    out: Path | None = None
    """The file, ending in .gif; RUN/progress.gif if not given."""


def main(arguments: Sequence[str], *, program: str, load_framework: "Callable[[], Framework] | None" = None) -> int:
    """Write the GIF; returns the exit code."""
    description = "One frame an epoch: what the same 64 latents give after each, from the run's progress.npz."
    options = parse_flags(AnimateOptions, arguments, program=program, description=description)
    if options.run is None:
        raise UserError(f"name a run folder like runs/NAME/torch, or a comparison like runs/NAME: {program} RUN")
    if options.out is not None:
        check_out(options.out, ".gif")

    from common.pictures.animation import animate, find_progress

    write_out(options.out or options.run / ANIMATION_FILE, animate(find_progress(options.run)))
    return 0
