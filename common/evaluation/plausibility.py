"""What looks wrong with the pixels of samples that can be scored all the same: preparation, blanks, repetition."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects

INK = 128  # of 255: brighter pixels belong to a digit
DARK_BACKGROUND = 8  # of 255; the border of a real digit is black
MAX_SHARE = 0.01  # of the samples, more than of real digits
MAX_OFF_SIZE = 1.5  # pixels; MNIST's digits fit a box of 20 (LeCun et al. 1998, section III.A)
MAX_OFF_MIDDLE = 1.0  # pixels, more than real digits
NUM_LOOKED_AT = 1_000  # images, of their greyness
ENOUGH_STEPS = 2_000  # the default networks have a black ground after 900, those of the preset smoke after 1,400


class Alarm(NamedTuple):
    """What was found, in one sentence with its number and that of real digits."""

    name: str
    sentence: str
    value: float
    floor: float


def percent(share: float) -> str:
    """To two digits or whole: 0.31 %, 78 %; never 100 % or 0 % for what is not."""
    text = f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"
    if share < 1 and text == "100":
        text = f"{100 * share:.4g}"
    return f"{text} %"


def pixel_alarms(digits: np.ndarray, real_digits: np.ndarray, *, was_cropped: bool) -> list[Alarm | None]:
    """Of samples brought to 28 px (N, 28, 28), held against real digits (M, 28, 28)."""
    copies = [_copies(digits, real_digits), _repeated(digits, real_digits)]
    if (faint := _no_contrast(digits, real_digits)) is not None:
        return [faint, _background(digits, real_digits), *copies]  # where digits are not seen, they have no place
    if (background := _background(digits, real_digits)) is not None:
        return [background, *copies]
    return [_size(digits, real_digits, was_cropped=was_cropped), _position(digits, real_digits), *copies]


def _share_alarm(
    name: str,
    is_bad: Callable[[np.ndarray], np.ndarray],
    digits: np.ndarray,
    real_digits: np.ndarray,
    sentence: str,
) -> Alarm | None:
    value, floor = float(np.mean(is_bad(digits))), float(np.mean(is_bad(real_digits)))
    if value <= floor + MAX_SHARE:
        return None
    return Alarm(name, sentence.format(value=percent(value), floor=percent(floor)), value, floor)


def too_few_steps(
    samples: np.ndarray, real_images: np.ndarray | None, *, step: int, steps_per_epoch: int | None
) -> str:
    """What to say of samples (N, S, S[, 3]) that are greyer than real images after few steps; nothing of any others.

    Without real images they are held against MNIST's, of which none is grey. Later than that, greyness has other
    causes, and the alarms speak.
    """
    looked_at = [None if images is None else _greys(images[:NUM_LOOKED_AT]) for images in (samples, real_images)]
    for is_bad, words in ((_is_faint, "are grey"), (_has_ground, "have a grey ground")):
        value, floor = (0.0 if images is None else float(np.mean(is_bad(images))) for images in looked_at)
        if step < ENOUGH_STEPS and value > floor + MAX_SHARE:
            flags = f", with --epochs {math.ceil(ENOUGH_STEPS / steps_per_epoch)}" if steps_per_epoch else ""
            found = f"{percent(value)} of the samples {words} (real images: {percent(floor)})"
            return f"{step:,} steps are too few: {found}. Train for about {ENOUGH_STEPS:,}{flags}."
    return ""


def _greys(images: np.ndarray) -> np.ndarray:
    return images if images.ndim == 3 else images.mean(axis=3)


def _is_faint(images: np.ndarray) -> np.ndarray:
    return np.ptp(images, axis=(1, 2)) < INK


def _has_ground(images: np.ndarray) -> np.ndarray:
    return _borders(images) > DARK_BACKGROUND


def _no_contrast(digits: np.ndarray, real_digits: np.ndarray) -> Alarm | None:
    hint = (
        "images of [0, 1] were cast to uint8 without scaling" if digits.max() <= 1 else "blank, or not white on black"
    )
    sentence = "{value} of the samples differ by less than half of the grey levels (real digits: {floor}): " + hint
    return _share_alarm("no_contrast", _is_faint, digits, real_digits, sentence)


def _background(digits: np.ndarray, real_digits: np.ndarray) -> Alarm | None:
    sentence = (
        "{value} of the samples have a background that is not black (real digits: {floor}): not learnt yet, inverted, "
        "or [0, 1] taken for [-1, 1]"
    )
    return _share_alarm("background", _has_ground, digits, real_digits, sentence)


def _borders(digits: np.ndarray) -> np.ndarray:
    return np.median(np.concatenate([digits[:, 0], digits[:, -1], digits[:, :, 0], digits[:, :, -1]], axis=1), axis=1)


def _size(digits: np.ndarray, real_digits: np.ndarray, *, was_cropped: bool) -> Alarm | None:
    value, floor = typical_digit_size(digits), typical_digit_size(real_digits)
    if abs(value - floor) <= MAX_OFF_SIZE:
        return None
    hint = ": if the model learnt from enlarged digits, not from a border, pass --resized" if was_cropped else ""
    sentence = f"a digit is typically {value:.0f} px large (real digits: {floor:.0f}){hint}"
    return Alarm("size", sentence, value, floor)


def typical_digit_size(digits: np.ndarray) -> float:
    """Median of the longer side of the box around each digit's ink, in pixels; 0 where there is none."""
    boxes = [find_objects((digit >= INK).astype(np.int8)) for digit in digits]
    sides = [max(part.stop - part.start for part in box[0]) if box and box[0] else 0 for box in boxes]
    return float(np.median(sides))


def _position(digits: np.ndarray, real_digits: np.ndarray) -> Alarm | None:
    middle = np.median(_centres(real_digits), axis=0)
    value, floor = (float(np.median(np.linalg.norm(_centres(some) - middle, axis=1))) for some in (digits, real_digits))
    if value <= floor + MAX_OFF_MIDDLE:
        return None
    sentence = f"a digit is typically {value:.1f} px off the middle (real digits: {floor:.1f} px): shifted, or cropped"
    return Alarm("position", sentence, value, floor)


def _centres(digits: np.ndarray) -> np.ndarray:
    """Centre of mass of each image's light (N, 2); none is all black here."""
    light = digits.astype(np.float64)
    at = np.arange(digits.shape[1])
    total = np.maximum(light.sum(axis=(1, 2)), 1)
    return np.stack([light.sum(axis=2) @ at, light.sum(axis=1) @ at], axis=1) / total[:, None]


def _copies(digits: np.ndarray, real_digits: np.ndarray) -> Alarm | None:
    known = set(_contents(real_digits))
    value = float(np.mean([content in known for content in _contents(digits)]))
    if value <= MAX_SHARE:
        return None
    sentence = f"{percent(value)} of the samples are, pixel for pixel, the real digits they are compared with"
    return Alarm("copies_of_reference", f"{sentence} (other real digits: 0 %)", value, 0.0)


def _repeated(digits: np.ndarray, real_digits: np.ndarray) -> Alarm | None:
    num_different, num_real = len(set(_contents(digits))), len(set(_contents(real_digits)))
    value, floor = 1 - num_different / len(digits), 1 - num_real / len(real_digits)
    if value <= floor + MAX_SHARE:
        return None
    sentence = (
        f"{percent(value)} of the samples repeat another one pixel for pixel (real digits: {percent(floor)}): only "
        f"{num_different:,} of {len(digits):,} differ"
    )
    return Alarm("repeated", sentence, value, floor)


def _contents(digits: np.ndarray) -> Iterator[bytes]:
    return (digit.tobytes() for digit in digits)
