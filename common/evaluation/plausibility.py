"""What looks wrong with samples that can be scored all the same: mistakes of preparation, not of a model."""

import numpy as np
from scipy.ndimage import find_objects

INK = 128  # of 255: brighter pixels belong to a digit
# MNIST's digits fit a box of 20 px (LeCun et al. 1998, section III.A), and so do nearly all that a model makes of them.
MAX_DIGIT_SIZE = 21.5
DARK_BACKGROUND = 32
MAX_COPIES = 0.01


def warnings_about(digits: np.ndarray, reference_digits: np.ndarray, *, was_cropped: bool) -> list[str]:
    """Sentences about samples brought to 28 px (N, 28, 28), and the real digits (M, 28, 28) they are held against."""
    found = []
    edges = np.concatenate([digits[:, 0], digits[:, -1], digits[:, :, 0], digits[:, :, -1]], axis=1)
    if digits.max() <= 1:
        found.append("no pixel is brighter than 1 of 255: images of [0, 1] were cast to uint8 without scaling")
    elif np.median(edges) > DARK_BACKGROUND:
        found.append(
            f"the background has grey level {np.median(edges):.0f}, but MNIST is white on black: the model has not "
            "learnt that, or images of [0, 1] were taken for [-1, 1], or inverted"
        )
    elif was_cropped and (size := typical_digit_size(digits)) > MAX_DIGIT_SIZE:
        found.append(
            f"digits are {size:.0f} px large where MNIST's are 20: if the model was trained on digits that were "
            "enlarged, not given a border, score it with --resized"
        )
    known = {digit.tobytes() for digit in reference_digits}
    num_copies = sum(digit.tobytes() in known for digit in digits)
    if num_copies > MAX_COPIES * len(digits):
        found.append(f"{num_copies:,} samples are copies of the real digits they are compared with, pixel for pixel")
    return found


def typical_digit_size(digits: np.ndarray) -> float:
    """Median of the longer side of the box around each digit's ink, in pixels; 0 where there is none."""
    boxes = [find_objects((digit >= INK).astype(np.int8)) for digit in digits]
    sides = [max(part.stop - part.start for part in box[0]) if box and box[0] else 0 for box in boxes]
    return float(np.median(sides))
