"""`arithmetic CHECKPOINT "9 - 4 + 6"`: Radford et al. (2016), section 6.3.2, with digits in place of faces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from common.commands.arithmetic_picture import Column, arithmetic_picture
from common.commands.digit_reader import DigitReader, check_digits_model
from common.commands.dispatch import Twin
from common.commands.equation import EXAMPLE, Term, parse_equation, written
from common.commands.picture_files import check_out, write_out
from common.commands.trained_model import ModelOptions, read_model
from common.data.randomness import stream
from common.errors import UserError

NUM_EXEMPLARS = 3
NUM_NEIGHBOURS = 8
NOISE = 0.25  # of the paper, whose latents were uniform in [-1, 1]


@dataclass(frozen=True, kw_only=True)
class ArithmeticOptions(ModelOptions):
    """Add and subtract digits in the latent space, as Radford et al. (2016) did with faces. Each digit is the mean of
    three latents whose images a classifier reads clearly as it.
    """

    equation: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="EQUATION")] = ()
    """Digits with + or - between them, as 9 - 4 + 6. Up to eight, in quotes or not."""
    out: Path = Path("arithmetic.png")
    """A .png file."""
    seed: int = 0
    """Random seed of the latents to choose from. Of 2,000, the clearest of each digit are taken."""


def main(options: ArithmeticOptions, twin: Twin) -> int:
    """Draw the terms and their result; returns the exit code 0."""
    checkpoint, equation = _sorted_out(options)
    if not equation:
        raise UserError(f"there is no arithmetic: {EXAMPLE}, after the checkpoint")
    terms = parse_equation(equation)
    check_out(options.out, ".png")
    stored = read_model(replace(options, checkpoint=checkpoint))
    check_digits_model(stored.config, stored.architecture)
    model = stored.open(twin.load_framework)
    reader = DigitReader(model)
    exemplars = reader.clearest({term.digit for term in terms}, num=NUM_EXEMPLARS, seed=options.seed)

    means = {digit: latents.mean(axis=0, dtype=np.float64) for digit, latents in exemplars.items()}
    result = compute(terms, means)
    noise = stream(options.seed, "arithmetic_noise").uniform(-NOISE, NOISE, (NUM_NEIGHBOURS, len(result)))
    around = reader.draw(np.insert(result + noise, NUM_NEIGHBOURS // 2, result, axis=0).astype(np.float32))
    readings = reader.read(around)
    verdict = readings[NUM_NEIGHBOURS // 2]
    columns = []
    for term in terms:
        mean_image = reader.draw(to_known_length(means[term.digit])[None].astype(np.float32))
        columns.append(Column(term, reader.draw(exemplars[term.digit]), mean_image[0], reader.read(mean_image)[0]))
    content = arithmetic_picture(columns, around, readings, model_name=model.name, seed=options.seed)
    write_out(options.out, content)
    num_same = sum(reading.digit == verdict.digit for reading in readings) - 1
    print(
        f"{written(terms, minus='-')}: the classifier reads {verdict}, and {verdict.digit} in {num_same} of the "
        f"{NUM_NEIGHBOURS} images around it"
    )
    return 0


def compute(terms: Sequence[Term], means: dict[int, np.ndarray]) -> np.ndarray:
    """The sum of each term's mean latent (Z,) with its sign, at a length that the generator knows."""
    return to_known_length(np.sum([term.sign * means[term.digit] for term in terms], axis=0))


def to_known_length(latent: np.ndarray) -> np.ndarray:
    """The same direction at length sqrt(Z).

    In Z dimensions nearly all standard normal latents are about that long, so the generator was trained there alone.
    The mean of three is only sqrt(Z / 3) long, and the sum of eight such means sqrt(8 Z / 3).
    """
    return latent * (np.sqrt(len(latent)) / np.linalg.norm(latent))


def _sorted_out(options: ArithmeticOptions) -> tuple[Path | None, str]:
    """Checkpoint and equation; with --pretrained the first word belongs to the equation too."""
    checkpoint, words = options.checkpoint, options.equation
    if options.pretrained and checkpoint is not None and (not words or words[0] in ("+", "-")):
        checkpoint, words = None, (str(checkpoint), *words)
    return checkpoint, " ".join(words)
