"""A figure laid out in printed pixels, from its upper left corner: digits enlarged by whole numbers, and words."""

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from common.pictures.captions import text_size, wrap
from common.pictures.compose import enlarged_each

DPI = 200
CELL_PIXELS = 128  # a digit's side at most
GAP = 8  # between two digits
LINE = 32  # from one line of words to the next
TEXT_POINTS = 7.5  # which can be read on a phone if a sheet is not wider than 850 pixels
DARK, PALE, ACCENT = "#23272e", "#4a505a", "#c2410c"


def figure_png(figure: Figure) -> bytes:
    """Without the version of what drew it, which would make equal pictures unequal files."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=figure.dpi, facecolor="white", metadata={"Software": None})
    return content.getvalue()


def enlarge(images: np.ndarray) -> np.ndarray:
    """Images (N, S, S) by the largest whole number that leaves them within a cell, so that none is blurred."""
    return enlarged_each(images, up_to=CELL_PIXELS)


def lines_of(text: str, *, width: float, size: float = TEXT_POINTS) -> list[str]:
    """The text in as many lines as it takes, none wider than so many printed pixels."""
    font = FontProperties(weight="normal", size=size * DPI / 72)
    return wrap(text, lambda line: text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] <= width)


def add_caption(figure: Figure, words: str) -> None:
    """Words below a figure of axes, in letters for a phone."""
    width = figure.get_figwidth() * figure.dpi
    size = text_size(round(width)) * 72 / figure.dpi
    lines = lines_of(words, width=0.96 * width, size=size)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=size, color=PALE, parse_math=False)


class Drawing:
    """A white sheet of `width` by `height` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")

    def image(self, picture: np.ndarray, left: int, top: int) -> None:
        """Place a uint8 picture (H, W[, 3]), pixel by pixel."""
        bottom = self.height - top - picture.shape[0]
        in_colour = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
        self.figure.figimage(in_colour, xo=left, yo=bottom)

    def frame(self, left: int, top: int, side: int, *, thickness: int = 6) -> None:
        """A coloured frame around a square."""
        points = thickness * 72 / DPI
        corner = ((left - thickness / 2) / self.width, 1 - (top + side + thickness / 2) / self.height)
        size = ((side + thickness) / self.width, (side + thickness) / self.height)
        self.figure.add_artist(Rectangle(corner, *size, fill=False, edgecolor=ACCENT, linewidth=points))

    def words(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float = TEXT_POINTS,
        bold: bool = False,
        color: str = PALE,
        align: Literal["left", "center", "right"] = "left",
    ) -> None:
        """One line of words whose middle is at height `y`."""
        at = (x / self.width, 1 - y / self.height)
        weight = "bold" if bold else "normal"
        self.figure.text(*at, text, fontsize=size, weight=weight, color=color, ha=align, va="center", parse_math=False)

    def heading(self, title: str, lines: Sequence[str], *, margin: int) -> None:
        """A title in the upper left corner, and lines of words below it."""
        self.words(title, margin, margin, size=10, bold=True, color=DARK)
        for number, line in enumerate(lines):
            self.words(line, margin, margin + (number + 1.5) * LINE)

    def png(self) -> bytes:
        """The sheet as a file."""
        return figure_png(self.figure)
