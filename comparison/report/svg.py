"""Figures as SVG: a file that stands alone, and the same within a page, in the colours of the page's theme."""

import io
import re

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from comparison.report.palette import LIGHT


def figure_svg(figure: Figure, name: str) -> bytes:
    """The file, its words as text; equal figures of one name give equal bytes."""
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(content, format="svg", facecolor=LIGHT["page"], metadata={"Date": None, "Creator": None})
    return content.getvalue()


def inlined(content: bytes, name: str, alt: str) -> Markup:
    """The `<svg>` alone, for a page: identifiers of its own, colours by their role, as wide as there is room."""
    svg = content.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    prefix = re.sub(r"\W", "-", name)
    svg = re.sub(r'(\bid="|url\(#|href="#)', lambda found: f"{found[1]}{prefix}-", svg)
    for role, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{role})")
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size, "matplotlib writes a view box"
    opened = f'<svg role="img" aria-label="{escape(alt)}" {size[0]}>'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opened, svg, count=1))
