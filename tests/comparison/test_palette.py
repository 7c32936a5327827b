"""Colours of one plot can be told apart by everyone, also in grey, and on the ground of their theme."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from comparison.report.palette import DARK, LIGHT, PHASE_SHADES, SERIES

# Machado, Oliveira, Fernandes 2009 (doi:10.1109/TVCG.2009.113), severity 1, for linear RGB.
COLOUR_BLIND = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)
FEWEST_STEPS_APART = 25  # of CIE 1976: 2.3 is just noticeable
FEWEST_GREYS_APART = 15  # of lightness, 0 to 100
THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's ratio of luminances."""
    high, low = sorted(((TO_XYZ @ linear(colour))[1] for colour in (first, second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@THEMES
@pytest.mark.parametrize("eyes", COLOUR_BLIND)
def test_series_differ_to_all_eyes(eyes: str, theme: dict[str, str]) -> None:
    seen = {name: lab(np.array(COLOUR_BLIND[eyes]) @ linear(theme[name])) for name in SERIES}
    for first, second in combinations(SERIES, 2):
        assert np.linalg.norm(seen[first] - seen[second]) >= FEWEST_STEPS_APART, (first, second)


@THEMES
def test_series_differ_in_grey(theme: dict[str, str]) -> None:
    lightness = {name: lab(linear(theme[name]))[0] for name in SERIES}
    for first, second in combinations(SERIES, 2):
        assert abs(lightness[first] - lightness[second]) >= FEWEST_GREYS_APART, (first, second, lightness)


def test_parts_of_a_bar_differ_in_grey() -> None:
    for first, second in pairwise(lab(linear(shade))[0] for shade in PHASE_SHADES):
        assert first - second >= 12


@THEMES
def test_words_can_be_read_and_lines_be_seen_on_the_page(theme: dict[str, str]) -> None:
    for role in ("text", "soft", "good", "warn", "bad"):
        for ground in ("page", "panel"):
            assert contrast(theme[role], theme[ground]) >= 4.5, (role, ground)
    for role in SERIES:
        assert contrast(theme[role], theme["page"]) >= 3, role
