"""`animate RUN`: training as a GIF, from the grids of fixed latents that a run recorded; asks no framework."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.commands.dispatch import Twin
from common.commands.picture_files import check_out, write_out
from common.errors import UserError
from common.records.folder import ANIMATION_FILE


@dataclass(frozen=True, kw_only=True)
class AnimateOptions:
    """One frame an epoch: what the same 64 latents give after each, from the run's progress.npz."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """A run like runs/NAME/torch, or a comparison like runs/NAME. A comparison's halves are shown side by side."""
    out: Path | None = None
    """The file, ending in .gif. If not given, RUN/progress.gif."""


def main(options: AnimateOptions, twin: Twin) -> int:
    """Write the GIF; returns the exit code."""
    if options.run is None:
        program = f"python -m {twin.name}_impl animate"
        raise UserError(f"name a run folder like runs/NAME/torch, or a comparison like runs/NAME: {program} RUN")
    if options.out is not None:
        check_out(options.out, ".gif")

    from common.pictures.animation import animate, find_model, find_progress

    content = animate(find_progress(options.run), model=find_model(options.run))
    write_out(options.out or options.run / ANIMATION_FILE, content)
    return 0
