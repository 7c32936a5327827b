"""The words on pictures: which model is shown, names short enough, and lines that fit a width."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from common.safe_read import one_line

MAX_NAME = 32  # characters: anyone may name a dataset
PHONE_PIXELS, PHONE_TEXT = 390, 9.5  # the width of a phone, and what can still be read there


def text_size(width: int) -> int:
    """Pixels of text that can be read where a picture of this width fills a phone."""
    return math.ceil(width * PHONE_TEXT / PHONE_PIXELS)


def shortened(name: object, *, most: int = MAX_NAME) -> str:
    """A long name without its middle: the beginning and the end tell more."""
    line = one_line(name) if name else ""
    head = (most - 3) // 2
    return line if len(line) <= most else f"{line[:head]}...{line[len(line) - (most - 3 - head) :]}"


def run_words(config: Mapping[str, Any], framework: str = "") -> str:
    """`dcgan32 on mnist, PyTorch, seed 0`; what a config does not say is left out."""
    model = " on ".join(shortened(config[name]) for name in ("preset", "dataset") if name in config)
    seed = f"seed {config['seed']}" if "seed" in config else ""
    return ", ".join(filter(None, (model, framework, seed)))


def epoch_words(epoch: int, step: int) -> str:
    """`epoch 3 (step 2,811)`, or that nothing was trained yet."""
    return f"epoch {epoch} (step {step:,})" if step else "before the first step"


def wrap(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in as few lines as fit; one word that does not fit has a line of its own, and a % follows its number."""
    lines: list[str] = []
    for word in re.findall(r"\S+(?: %\S*)?", text):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and fits(longer):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
