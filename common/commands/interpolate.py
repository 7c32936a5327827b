"""`interpolate CHECKPOINT --from-class 6 --to-class 9`: the way from one digit to another, and what is read on it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.commands.digit_reader import DigitReader, Reading, check_digit, check_digits_model
from common.commands.dispatch import Twin
from common.commands.picture_files import check_out, there_and_back, write_out
from common.commands.trained_model import ModelOptions, read_model
from common.data.latent_paths import slerp
from common.errors import UserError
from common.pictures.compose import captioned, enlarged
from common.pictures.drawing import ACCENT, DARK, GAP, LINE, Drawing, enlarge, lines_of

NUM_COLUMNS = 5  # as many as a phone shows with their words
MAX_FRAMES = 100
ANIMATION_PIXELS = 384
MARGIN = 40
NUM_POSITIONS = 30
NUM_WAYS = 100
MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions(ModelOptions):
    """Draw the way from one digit to another through the latent space, as a PNG and a GIF beside it. Say which digits
    a classifier reads on the way.
    """

    out: Path = Path("interpolation.png")
    """A .png file. The animation goes beside it, as .gif."""
    from_class: int
    """The digit to begin at."""
    to_class: int
    """The digit to end at."""
    num_frames: int = 10
    """Images in the strip, 2 to 100, both ends among them."""
    seed: int = 0
    """Random seed of the latents to choose from. Of 2,000, the clearest image of either digit is taken."""


def main(options: InterpolateOptions, twin: Twin) -> int:
    """Draw the strip and the animation; returns the exit code 0."""
    animation = _check(options)
    stored = read_model(options)
    check_digits_model(stored.config, stored.architecture)
    model = stored.open(twin.load_framework)
    reader = DigitReader(model)
    ends = (options.from_class, options.to_class)
    clearest = reader.clearest(set(ends), num=1, most=NUM_WAYS, seed=options.seed)
    starts, stops = (clearest[digit] for digit in ends)

    images = reader.draw(way(starts[0], stops[0], num=options.num_frames))
    moving = reader.draw(way(starts[0], stops[0], num=NUM_POSITIONS))
    others = others_on_ways(starts, stops, reader)
    readings = reader.read(images)
    write_out(options.out, _strip(images, readings, options, model_name=model.name, others=others))
    words = f"From a {ends[0]} to a {ends[1]} and back: {model.name}."
    frames = [captioned(enlarged(frame, up_to=ANIMATION_PIXELS), words) for frame in moving]
    write_out(animation, there_and_back(frames))
    digits = " ".join(str(reading.digit) for reading in readings)
    print(f"on the way from {ends[0]} to {ends[1]} the classifier reads in the images of {options.out.name}: {digits}")
    print(others)
    return 0


def _check(options: InterpolateOptions) -> Path:
    """Where the animation goes; UserError for what can be known to be wrong before a model is read."""
    check_out(options.out, ".png")
    animation = options.out.with_suffix(".gif")
    check_out(animation, ".gif")
    check_digit("--from-class", options.from_class)
    check_digit("--to-class", options.to_class)
    if options.from_class == options.to_class:
        raise UserError(f"--from-class and --to-class are both {options.to_class}: choose two digits")
    if not 2 <= options.num_frames <= MAX_FRAMES:
        raise UserError(f"--num-frames is {options.num_frames}: pass 2 to {MAX_FRAMES}")
    return animation


def _strip(
    images: np.ndarray, readings: list[Reading], options: InterpolateOptions, *, model_name: str, others: str
) -> bytes:
    cells = enlarge(images)
    side = cells.shape[1]
    row_height = side + 3 * LINE
    num_rows = -(-len(cells) // NUM_COLUMNS)
    width = NUM_COLUMNS * (side + GAP) - GAP
    ends = (options.from_class, options.to_class)
    above = [f"{model_name}, seed {options.seed}.", "Below: what a classifier reads, coloured if it is neither."]
    above = [line for words in above for line in lines_of(words, width=width)]
    below = lines_of(others, width=width)
    head = MARGIN + (len(above) + 2) * LINE
    bottom = head + num_rows * row_height
    sheet = Drawing(width + 2 * MARGIN, bottom + len(below) * LINE + MARGIN)
    sheet.heading(f"From a {ends[0]} to a {ends[1]} through the latent space", above, margin=MARGIN)
    for number, line in enumerate(below):
        sheet.words(line, MARGIN, bottom + (number + 0.5) * LINE)
    for index, (cell, reading) in enumerate(zip(cells, readings, strict=True)):
        row, column = divmod(index, NUM_COLUMNS)
        left, top = MARGIN + column * (side + GAP), head + row * row_height
        color = DARK if reading.digit in ends else ACCENT
        sheet.image(cell, left, top)
        sheet.words(
            str(reading.digit),
            left + side / 2,
            top + side + LINE * 0.8,
            size=10,
            bold=True,
            color=color,
            align="center",
        )
        sheet.words(
            f"{100 * reading.probability:.0f} %", left + side / 2, top + side + 1.8 * LINE, color=color, align="center"
        )
    return sheet.png()


def way(start: np.ndarray, end: np.ndarray, *, num: int) -> np.ndarray:
    """Latents (num, Z) at equal distances, from `start` (Z,) to `end`."""
    return slerp(np.tile(start, (num, 1)), np.tile(end, (num, 1)), np.linspace(0, 1, num))


def others_on_ways(starts: np.ndarray, ends: np.ndarray, reader: DigitReader) -> str:
    """A sentence: on how many ways, from each start to its end, which digits are read that are at neither end.

    One way shows what can happen, not what does: alone, the picture of it would be taken for a rule.
    """
    ways = [way(start, end, num=NUM_POSITIONS) for start, end in zip(starts, ends, strict=False)]
    digits = [reading.digit for reading in reader.read(reader.draw(np.concatenate(ways)))]
    rows = [digits[first : first + NUM_POSITIONS] for first in range(0, len(digits), NUM_POSITIONS)]
    others = [sorted(set(row) - {row[0], row[-1]}) for row in rows]
    found = Counter(digit for row in others for digit in row).most_common(MAX_NAMED)
    counts = ", ".join(f"{digit} on {count}" for digit, count in found)
    return (
        f"On {len(ways)} ways between such pairs other digits are read this often: {counts or 'none at all'}; "
        f"none on {others.count([])}."
    )
