"""The picture of `arithmetic`: a column a term, signs between, and the result among its neighbours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.commands.digit_reader import Reading
from common.commands.equation import Term, sign_of, written
from common.pictures.drawing import ACCENT, DARK, GAP, LINE, Drawing, enlarge

MARGIN = 40
SIGN_PIXELS = 64  # between two columns
LABEL_PIXELS = 130  # left of the first
BREAK = 28  # between the exemplars and their mean
MIN_WIDTH = 1280  # for the sentences
GRID_COLUMNS = 3


class Column(NamedTuple):
    """A term, the images of its exemplars (3, S, S), that of their mean (S, S), and what is read in it."""

    term: Term
    exemplars: np.ndarray
    mean: np.ndarray
    reading: Reading


def arithmetic_picture(
    columns: Sequence[Column], around: np.ndarray, readings: Sequence[Reading], *, caption: str
) -> bytes:
    """A PNG; `around` is uint8 (9, S, S), the result in the middle of its neighbours, and `readings` theirs."""
    side = enlarge(around).shape[1]
    cell, read_cell = side + GAP, side + GAP + LINE  # an image, and one with its reading below
    head = MARGIN + 6 * LINE
    mean_top = head + len(columns[0].exemplars) * cell + BREAK
    left = MARGIN + LABEL_PIXELS
    grid_left = left + len(columns) * (side + SIGN_PIXELS)
    width = max(MIN_WIDTH, grid_left + GRID_COLUMNS * cell + MARGIN)
    sheet = Drawing(width, mean_top + 2 * read_cell + 3 * LINE)
    _say(sheet, columns, caption)
    for row, label in ((head + 1.5 * cell, ("clear", "samples")), (mean_top + side / 2, ("their", "mean"))):
        for line, text in enumerate(label):
            sheet.words(text, left - 24, row + (line - 0.5) * LINE, align="right")
    for index, column in enumerate(columns):
        x = left + index * (side + SIGN_PIXELS)
        if index:
            _sign(sheet, sign_of(column.term), x, mean_top + side / 2)
        sheet.words(str(column.term.digit), x + side / 2, head - 0.8 * LINE, size=11, bold=True, color=DARK,
            align="center")  # fmt: skip
        for row, image in enumerate(enlarge(column.exemplars)):
            sheet.image(image, x, head + row * cell)
        sheet.image(enlarge(column.mean[None])[0], x, mean_top)
        sheet.words(f"read as {column.reading.digit}", x + side / 2, mean_top + side + 0.7 * LINE, align="center")
    _sign(sheet, "=", grid_left, mean_top + side / 2)
    _result(sheet, around, readings, grid_left, mean_top - read_cell)
    return sheet.png()


def _say(sheet: Drawing, columns: Sequence[Column], caption: str) -> None:
    equation = written([column.term for column in columns])
    lines = (
        "Each term is the mean of three latents whose images a classifier reads clearly as that digit;",
        "the result is their sum with these signs, at the length of the latents the generator was trained on.",
        caption,
    )
    sheet.words(f"{equation} in the latent space", MARGIN, MARGIN, size=11, bold=True, color=DARK)
    for number, line in enumerate(lines):
        sheet.words(line, MARGIN, MARGIN + (number + 1.5) * LINE)


def _sign(sheet: Drawing, sign: str, right: float, middle: float) -> None:
    sheet.words(sign, right - SIGN_PIXELS / 2, middle, size=15, bold=True, color=DARK, align="center")


def _result(sheet: Drawing, around: np.ndarray, readings: Sequence[Reading], left: int, top: int) -> None:
    cells = enlarge(around)
    side = cells.shape[1]
    middle = len(cells) // 2
    for index, image in enumerate(cells):
        row, column = divmod(index, GRID_COLUMNS)
        x, y = left + column * (side + GAP), top + row * (side + GAP + LINE)
        sheet.image(image, x, y)
        sheet.words(str(readings[index].digit), x + side / 2, y + side + GAP + LINE / 2, align="center")
    sheet.frame(left + side + GAP, top + side + GAP + LINE, side)
    center = left + (GRID_COLUMNS * (side + GAP) - GAP) / 2
    sheet.words("The classifier reads", center, top - 2.6 * LINE, align="center")
    sheet.words(str(readings[middle]), center, top - 1.3 * LINE, size=12, bold=True, color=ACCENT, align="center")
    bottom = top + GRID_COLUMNS * (side + GAP + LINE)
    lines = ("framed: the result, others: with noise of ±0.25,", "below each what the classifier reads")
    for number, line in enumerate(lines):
        sheet.words(line, center, bottom + (0.6 + 0.9 * number) * LINE, align="center")
