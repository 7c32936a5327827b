"""Pictures put together from labelled parts, and their bytes: equal parts give equal files."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.pictures.captions import text_size, wrap

WHITE = 255
MARGIN = 10  # pixels between the parts of a picture, and around it
TEXT_SIZE, TITLE_SIZE = 14, 17
NUM_LEVELS = 17  # in an animation, mid-grey among them: near-black becomes black, and the file far smaller
ENLARGED_TO = 560
GRID_PIXELS = 700  # of a grid that is a picture by itself


def enlarged(picture: np.ndarray, *, up_to: int = ENLARGED_TO) -> np.ndarray:
    """Each pixel a square of pixels, as large as the width of the picture (H, W[, 3]) may become."""
    scale = max(1, up_to // picture.shape[1])
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def enlarged_each(images: np.ndarray, *, up_to: int) -> np.ndarray:
    """Images (N, H, W[, 3]), each `enlarged`."""
    return np.stack([enlarged(image, up_to=up_to) for image in images])


def text(line: str, *, size: int = TEXT_SIZE, level: int = 30) -> np.ndarray:
    """One line as a picture (H, W), dark on white."""
    font = ImageFont.load_default(size)
    width = round(font.getlength(line)) + 1
    image = Image.new("L", (width, round(1.4 * size)), WHITE)
    ImageDraw.Draw(image).text((0, 0.15 * size), line, fill=level, font=font)
    return np.asarray(image)


def paragraph(words: str, *, width: int, size: int) -> np.ndarray:
    """A text as a picture (H, W), in as many lines as it takes."""
    font = ImageFont.load_default(size)
    lines = wrap(words, lambda line: font.getlength(line) < width)
    return stacked(*(text(line, size=size) for line in lines), gap=0)


def captioned(picture: np.ndarray, *sentences: str) -> np.ndarray:
    """The picture on white below its caption: a paragraph for each sentence there is, in letters for a phone."""
    width = picture.shape[1]
    words = [paragraph(sentence, width=width, size=text_size(width)) for sentence in sentences if sentence]
    return framed(stacked(*words, picture, gap=MARGIN // 2))


def stacked(*parts: np.ndarray, gap: int = MARGIN) -> np.ndarray:
    """Parts (H, W[, 3]) from top to bottom, on white; in colour if one of them is."""
    return _joined(parts, gap, axis=0)


def beside(*parts: np.ndarray, gap: int = MARGIN) -> np.ndarray:
    """Parts (H, W[, 3]) from left to right, on white; in colour if one of them is."""
    return _joined(parts, gap, axis=1)


def framed(picture: np.ndarray) -> np.ndarray:
    """The picture with a white margin all around."""
    return np.pad(picture, [(MARGIN, MARGIN)] * 2 + [(0, 0)] * (picture.ndim - 2), constant_values=WHITE)


def labelled_panels(panels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pictures side by side, each with its name above."""
    size = text_size(sum(panel.shape[1] for panel in panels.values()))
    named = (stacked(text(name, size=size), panel, gap=MARGIN // 3) for name, panel in panels.items())
    return beside(*named, gap=2 * MARGIN)


def labelled_grids(grids: Mapping[str, np.ndarray], *, num_columns: int) -> np.ndarray:
    """Images (N, S, S[, 3]) as enlarged grids side by side, each with its name above."""
    return labelled_panels(
        {name: enlarged(image_grid(images, num_columns=num_columns)) for name, images in grids.items()}
    )


def png(picture: np.ndarray) -> bytes:
    """A uint8 picture (H, W[, 3]) as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    return content.getvalue()


def reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    """A uint8 picture (H, W[, 3]) whose pixels are means of `factor` by `factor` of them."""
    return picture if factor == 1 else np.asarray(Image.fromarray(picture).reduce(factor))


def small_png(picture: np.ndarray) -> bytes:
    """A uint8 picture (H, W[, 3]) in 16 greys, or in 64 colours: a fraction of the file, hardly to be told apart."""
    content = io.BytesIO()
    if picture.ndim == 3:
        image = Image.fromarray(picture).quantize(64)
    else:
        image = Image.fromarray(np.rint(picture / 17).astype(np.uint8))
        image.putpalette([17 * level for level in range(16) for _ in "rgb"])
    image.save(content, format="PNG", bits=4 if picture.ndim == 2 else 8, optimize=True)
    return content.getvalue()


def gif(frames: Sequence[np.ndarray], *, milliseconds: Sequence[int]) -> bytes:
    """uint8 pictures of one shape as an animation that repeats, each shown for so long; in 17 levels of each colour."""
    in_palette = _in_one_palette if frames[0].ndim == 3 else _in_greys
    return animation(in_palette(frames), milliseconds=milliseconds)


def animation(images: Sequence[Image.Image], *, milliseconds: Sequence[int]) -> bytes:
    """The file of an animation that repeats, its colours as they are."""
    content = io.BytesIO()
    images[0].save(content, format="GIF", save_all=True, append_images=images[1:], duration=list(milliseconds), loop=0)
    return content.getvalue()


def _joined(parts: Sequence[np.ndarray], gap: int, *, axis: int) -> np.ndarray:
    if any(part.ndim == 3 for part in parts):
        parts = [part if part.ndim == 3 else np.stack([part] * 3, axis=-1) for part in parts]
    across = max(part.shape[1 - axis] for part in parts)
    padded = []
    for index, part in enumerate(parts):
        widths = [(0, 0)] * part.ndim
        widths[axis] = (gap if index else 0, 0)
        widths[1 - axis] = (0, across - part.shape[1 - axis])
        padded.append(np.pad(part, widths, constant_values=WHITE))
    return np.concatenate(padded, axis=axis)


def _in_greys(frames: Sequence[np.ndarray]) -> list[Image.Image]:
    images = [Image.fromarray(_levels(frame)) for frame in frames]
    for image in images:
        image.putpalette([value for level in range(NUM_LEVELS) for value in [_value(level)] * 3])
    return images


def _in_one_palette(frames: Sequence[np.ndarray]) -> list[Image.Image]:
    """One palette for all frames: with one each, an even colour would flicker."""
    values = np.array([_value(level) for level in range(NUM_LEVELS)], np.uint8)
    seen = np.concatenate([values[_levels(frame)] for frame in (frames[0], frames[len(frames) // 2], frames[-1])])
    palette = Image.fromarray(seen).quantize(256)
    return [
        Image.fromarray(values[_levels(frame)]).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames
    ]


def _levels(frame: np.ndarray) -> np.ndarray:
    return np.rint(frame * ((NUM_LEVELS - 1) / 255)).astype(np.uint8)


def _value(level: int) -> int:
    return round(level * 255 / (NUM_LEVELS - 1))


def image_grid(images: np.ndarray, *, num_columns: int, gap: int = 2, level: int = 0) -> np.ndarray:
    """Lay (N, S, S[, 3]) out row by row on one grey level, black by default: one picture (H, W[, 3])."""
    num_images, size = images.shape[:2]
    num_rows = math.ceil(num_images / num_columns)
    cell = size + gap
    grid = np.full((num_rows * cell + gap, num_columns * cell + gap, *images.shape[3:]), level, np.uint8)
    for index, image in enumerate(images):
        top, left = (gap + cell * position for position in divmod(index, num_columns))
        grid[top : top + size, left : left + size] = image
    return grid
