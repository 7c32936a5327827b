"""The colours of the report, of each theme once; frameworks differ in grey and to colour-blind eyes as well."""

from typing import Any

from common.pictures.drawing import DPI, PALE
from common.pictures.loss_curves import STYLE as LOSS_STYLE

LIGHT = {
    "page": "#ffffff",
    "panel": "#f4f5f7",
    "text": "#1c2026",
    "soft": PALE,
    "line": "#d8dce2",
    "torch": "#e8620c",
    "jax": "#1b4fb5",
    "real": "#14171c",
    "good": "#1a6b3c",
    "warn": "#8a5a00",
    "bad": "#b3201a",
}
DARK = {
    "page": "#15171b",
    "panel": "#1f2227",
    "text": "#e6e8eb",
    "soft": "#a6adb8",
    "line": "#3a3f48",
    "torch": "#ff8b3d",
    "jax": "#4b7bec",
    "real": "#f2f3f5",
    "good": "#6fce96",
    "warn": "#e5b454",
    "bad": "#ff8a80",
}
SERIES = ("torch", "jax", "real")  # what stands in one plot
COLOURS = {name: LIGHT[name] for name in SERIES}
# Where two curves coincide, both stay visible; in print they differ without colour.
LINE_STYLES = {"torch": "-", "jax": (0, (4, 1.5)), "real": ":"}
MARKERS = {"torch": "o", "jax": "s", "real": "D"}
STYLE: dict[Any, Any] = LOSS_STYLE | {
    "font.size": 10.5,
    "axes.edgecolor": LIGHT["soft"],
    "axes.labelcolor": LIGHT["soft"],
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.6,
    "text.color": LIGHT["text"],
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "legend.fontsize": 10,
    "figure.dpi": DPI,
}
# Parts of one bar, from its left: each darker than the last by a step that grey keeps, every other one hatched.
PHASE_SHADES = ("#e2e6ec", "#b9c1cc", "#8d97a5", "#5b6675", "#2b323c")
PHASE_HATCHES = ("", "///", "", "...", "")
