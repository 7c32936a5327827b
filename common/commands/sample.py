"""`sample CHECKPOINT`: a grid of what a model generates, or the images themselves with their latents."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from common.commands.dispatch import Twin
from common.commands.picture_files import check_out, write_out
from common.commands.trained_model import ModelOptions, read_model
from common.config import TrainConfig
from common.data.latent_paths import read_latents
from common.data.randomness import fixed_latents
from common.errors import UserError
from common.pictures.compose import GRID_PIXELS, captioned, enlarged, image_grid, png
from common.records.folder import npz_bytes
from common.training.generate import generate_images

DEFAULT_NUM = 100
MAX_NUM = 10_000
DEFAULT_COLUMNS, MAX_COLUMNS = 10, 100


@dataclass(frozen=True, kw_only=True)
class SampleOptions(ModelOptions):
    """Generate images: the first are those of a run's sample grids."""

    out: Path
    """A .png file for a grid, or an .npz file for arrays. The arrays are `images` (uint8) and `latents` (float32)."""
    num: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """How many images, 1 to 10,000. If not given, 100, or all of --latents."""
    num_columns: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Columns of the grid, 1 to 100. If not given, ten, or from 100 images on as many as rows."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Random seed of the latents. If not given, the one of the model's training."""
    latents: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Latents to use instead, from a file. It is a .npy file, or an .npz file with an array `latents`, floats
    (N, latent_dim)."""


def main(options: SampleOptions, twin: Twin) -> int:
    """Generate what the flags ask for; returns the exit code 0."""
    _check(options)
    stored = read_model(options)
    latents = _latents_of(options, stored.config)
    model = stored.open(twin.load_framework)
    images = generate_images(model.trainer, latents)
    note = stored.note_on(images)
    if options.out.suffix.lower() == ".png":
        num_columns = options.num_columns or max(DEFAULT_COLUMNS, math.ceil(math.sqrt(len(images))))
        grid = image_grid(images, num_columns=min(num_columns, len(images)))
        drawn_from = "given latents" if options.latents else f"seed {_seed_of(options, stored.config)}"
        words = f"{len(images):,} samples of {model.name}, {drawn_from}."
        content = png(captioned(enlarged(grid, up_to=GRID_PIXELS), words, note))
    else:
        content = npz_bytes(images=images, latents=latents)
    if note:
        print(note)
    write_out(options.out, content)
    return 0


def _check(options: SampleOptions) -> None:
    check_out(options.out, ".png", ".npz")
    if options.num is not None and not 1 <= options.num <= MAX_NUM:
        raise UserError(f"--num is {options.num}: pass 1 to {MAX_NUM:,}")
    if options.num_columns is not None and not 1 <= options.num_columns <= MAX_COLUMNS:
        raise UserError(f"--num-columns is {options.num_columns}: pass 1 to {MAX_COLUMNS}")
    if options.num_columns is not None and options.out.suffix.lower() == ".npz":
        raise UserError("--num-columns is of a grid, and an .npz file holds none: leave it out, or name a .png file")
    if options.seed is not None and options.latents is not None:
        raise UserError("--seed draws latents and --latents names a file of them: pass one of the two")


def _seed_of(options: SampleOptions, config: TrainConfig) -> int:
    return config.seed if options.seed is None else options.seed


def _latents_of(options: SampleOptions, config: TrainConfig) -> np.ndarray:
    if options.latents is None:
        return fixed_latents(_seed_of(options, config), num=options.num or DEFAULT_NUM, latent_dim=config.latent_dim)
    latents = read_latents(options.latents, latent_dim=config.latent_dim)
    num = options.num or len(latents)
    if num > min(len(latents), MAX_NUM):
        raise UserError(
            f"--latents holds {len(latents):,}, {num:,} are to be shown: pass --num, 1 to {min(len(latents), MAX_NUM)}"
        )
    return latents[:num]
