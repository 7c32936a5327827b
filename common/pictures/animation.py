"""Training as an animation: what the same latents give after each epoch, read from progress.npz."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.pictures.captions import run_words, shortened
from common.pictures.compose import captioned, enlarged, gif, image_grid, labelled_panels
from common.records.folder import CONFIG_FILE, ENVIRONMENT_FILE, FRAMEWORK_NAMES, PROGRESS_FILE, read_json
from common.records.series import Progress, read_progress
from common.safe_read import one_line, unreadable_is_named
from common.stages import in_stage

FRAME_MILLISECONDS, LAST_MILLISECONDS = 500, 3000
MAX_FRAMES = 200
NUM_COLUMNS = 8
SAME_LATENTS = "the same 64 latents in each frame."  # of one length, or the frames would not be of one size


def find_progress(folder: Path) -> dict[str, Progress]:
    """What the run in `folder` recorded, under no name, or each half of a comparison under its framework's."""
    with unreadable_is_named(folder):
        places = {"": folder} if (folder / PROGRESS_FILE).exists() else {}
        places = places or {name: folder / key for key, name in FRAMEWORK_NAMES.items()}
        found = {name: place / PROGRESS_FILE for name, place in places.items() if (place / PROGRESS_FILE).exists()}
    if not folder.exists():
        raise UserError(f"there is no {one_line(folder)}: name a run folder like runs/NAME/torch, or a comparison's")
    if not found:
        raise UserError(
            f"{one_line(folder)} holds no {PROGRESS_FILE}: name a run folder like runs/NAME/torch, or a comparison's"
        )
    recorded = {}
    for name, path in found.items():
        try:
            recorded[name] = read_progress(path)
        except ValueError as error:
            raise UserError(f"{one_line(path)} cannot be read ({one_line(error)})") from None
    if len(shared_epochs(recorded)) == 0:
        raise UserError(f"{one_line(folder)} has no epoch to show: each {PROGRESS_FILE} must have one that all have")
    return recorded


def find_model(folder: Path) -> str:
    """Which model the run in `folder` trained, or both halves of a comparison; what has no records has no words."""
    places = [folder, *(folder / framework for framework in FRAMEWORK_NAMES)]
    place = next((place for place in places if (place / CONFIG_FILE).exists()), folder)
    framework = read_json(place / ENVIRONMENT_FILE).get("framework_name", "") if place == folder else ""
    return run_words(read_json(place / CONFIG_FILE), shortened(framework))


def shared_epochs(runs: Mapping[str, Progress]) -> list[int]:
    """Epochs that every run recorded, in order."""
    sets = [set(run.epochs.tolist()) for run in runs.values()]
    return sorted(set.intersection(*sets))


def animate(runs: Mapping[str, Progress], *, model: str = "") -> bytes:
    """A GIF with one frame an epoch that all runs have, of more than 200 evenly chosen ones; the last stays longer.

    Runs stand side by side, each under its name, below the words on the `model`.
    """
    epochs = np.array(shared_epochs(runs))
    epochs = epochs[np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_FRAMES)).round().astype(int))]
    frames = []
    for epoch in in_stage(epochs, "drawing the frames", len(epochs)):
        panels = {
            name: enlarged(image_grid(run.images[run.epochs.tolist().index(epoch)], num_columns=NUM_COLUMNS))
            for name, run in runs.items()
        }
        shown = labelled_panels(panels) if all(panels) else next(iter(panels.values()))
        trained = f"after epoch {epoch}" if epoch else "before training"
        frames.append(captioned(shown, f"{trained.capitalize()}: {SAME_LATENTS}", model))
    return gif(frames, milliseconds=[*[FRAME_MILLISECONDS] * (len(frames) - 1), LAST_MILLISECONDS])
