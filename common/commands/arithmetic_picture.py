"""The picture of `arithmetic`: a row for each term, and the result among its neighbours below."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.commands.digit_reader import Reading
from common.commands.equation import Term, sign_of, written
from common.pictures.drawing import ACCENT, DARK, GAP, LINE, Drawing, enlarge, lines_of

MARGIN = 40
SIGN_PIXELS = 110  # left of a row: its sign and its digit
BREAK = 28  # between the exemplars and their mean
READ_PIXELS = 160  # right of a row: what is read in its mean
GRID_COLUMNS = 3
RESULT_WORDS = ("framed: the result;", "others: with noise of", "±0.25; below each:", "what is read")


class Column(NamedTuple):
    """A term, the images of its exemplars (3, S, S), that of their mean (S, S), and what is read in it."""

    term: Term
    exemplars: np.ndarray
    mean: np.ndarray
    reading: Reading


def arithmetic_picture(
    columns: Sequence[Column], around: np.ndarray, readings: Sequence[Reading], *, model_name: str, seed: int
) -> bytes:
    """A PNG; `around` is uint8 (9, S, S), the result in the middle of its neighbours, and `readings` theirs."""
    side = enlarge(around).shape[1]
    cell = side + GAP
    mean_left = MARGIN + SIGN_PIXELS + len(columns[0].exemplars) * cell + BREAK
    width = mean_left + side + READ_PIXELS + MARGIN
    caption = (f"{model_name}, seed {seed}.", "The latents are added, not the images: expect a digit that was added.")
    lines = [line for words in caption for line in lines_of(words, width=width - 2 * MARGIN)]
    top = MARGIN + (len(lines) + 3) * LINE
    result_top = top + len(columns) * cell + 2 * LINE
    sheet = Drawing(width, result_top + GRID_COLUMNS * (cell + LINE) + MARGIN)
    equation = written([column.term for column in columns])
    sheet.heading(f"{equation} in the latent space", lines, margin=MARGIN)
    sheet.words("clear samples", MARGIN + SIGN_PIXELS, top - LINE / 2)
    sheet.words("their mean", mean_left, top - LINE / 2)
    for index, column in enumerate(columns):
        _row(sheet, column, top + index * cell, mean_left, is_first=index == 0)
    _result(sheet, around, readings, result_top)
    return sheet.png()


def _row(sheet: Drawing, column: Column, top: int, mean_left: int, *, is_first: bool) -> None:
    mean = enlarge(column.mean[None])[0]
    side = len(mean)
    sign = "" if is_first else sign_of(column.term)
    sheet.words(sign, MARGIN, top + side / 2, size=13, bold=True, color=DARK)
    sheet.words(str(column.term.digit), MARGIN + 0.55 * SIGN_PIXELS, top + side / 2, size=11, bold=True, color=DARK)
    for index, image in enumerate(enlarge(column.exemplars)):
        sheet.image(image, MARGIN + SIGN_PIXELS + index * (side + GAP), top)
    sheet.image(mean, mean_left, top)
    sheet.words(f"read as {column.reading.digit}", mean_left + side + 2 * GAP, top + side / 2)


def _result(sheet: Drawing, around: np.ndarray, readings: Sequence[Reading], top: int) -> None:
    cells = enlarge(around)
    side = cells.shape[1]
    middle = len(cells) // 2
    left = MARGIN + SIGN_PIXELS
    for index, image in enumerate(cells):
        row, column = divmod(index, GRID_COLUMNS)
        x, y = left + column * (side + GAP), top + row * (side + GAP + LINE)
        sheet.image(image, x, y)
        sheet.words(str(readings[index].digit), x + side / 2, y + side + GAP + LINE / 2, align="center")
    sheet.frame(left + side + GAP, top + side + GAP + LINE, side)
    center = top + side + GAP + LINE + side / 2
    sheet.words("=", MARGIN, center, size=13, bold=True, color=DARK)
    x = left + GRID_COLUMNS * (side + GAP) + 2 * GAP
    sheet.words("The classifier reads", x, center - 2 * LINE)
    sheet.words(str(readings[middle]), x, center - 0.8 * LINE, size=12, bold=True, color=ACCENT)
    for number, line in enumerate(RESULT_WORDS):
        sheet.words(line, x, center + (0.6 + number) * LINE)
