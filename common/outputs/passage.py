"""Which digits are read on a way through the latent space, and how often on many such ways."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from common.latents import slerp
from common.outputs.digit_reader import DigitReader

NUM_POSITIONS = 30
NUM_WAYS = 100
MAX_NAMED = 5


def way(start: np.ndarray, end: np.ndarray, *, num: int) -> np.ndarray:
    """Latents (num, Z) at equal distances, from `start` (Z,) to `end`."""
    return slerp(np.tile(start, (num, 1)), np.tile(end, (num, 1)), np.linspace(0, 1, num))


def in_turn(digits: Sequence[int]) -> list[int]:
    """Each digit once for as long as it stays."""
    return [digit for digit, _ in groupby(digits)]


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
