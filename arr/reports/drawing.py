"""Plots as they stand in a page: matplotlib's SVG in the page's own colours and type, dark and in print, too.

The one rule: numbers, labels of ours and names of rubric sets are all the text that goes into a plot; what rubrics say
stands in the page, where it is escaped and has the reader's fonts.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, MUTED = "#1f2430", "#c9cfd8", "#8b94a3"
"""Text, lines of the frame, and what others are compared with."""
FIRST, SECOND, THIRD = "#2f6fde", "#d9822b", "#7a4fc9"
"""Colours of series, in the order of their use."""

_VARIABLES = {INK: "ink", SOFT: "rule", MUTED: "muted", FIRST: "accent", SECOND: "second", THIRD: "third"}
"""Colour → the variable of `page.html.j2` that it stands for."""

_PIXELS_PER_INCH = 104
"""At most: a small plot does not grow to the width of the page, where its letters would be larger than the page's."""

_NARROWEST_PIXELS = 760
"""Of a large plot, whose letters could not be read below; on a narrower screen it is moved sideways."""

STYLE: dict[Any, Any] = {
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.size": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "arr",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw plots, and turn them into SVG, inside this block."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **layout: Any
) -> tuple[Figure, list[Axes]]:
    """An empty figure, its size in inches, and its panels row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    panels = list(figure.subplots(rows, columns, squeeze=False, **layout).flat)
    for axes in panels:
        axes.patch.set_alpha(0.0)
    return figure, panels


def as_svg(figure: Figure, *, alt: str) -> Markup:
    """The figure as an `<svg>` element; `alt` says what it shows to those who do not see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[\w.]+">', "<g>", svg)  # the same in every plot; nothing refers to them
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    widest = _PIXELS_PER_INCH * figure.get_figwidth()
    size = f"max-width: {widest:.0f}px; min-width: {min(widest, _NARROWEST_PIXELS):.0f}px"
    shown = f'role="img" aria-label="{escape(alt)}" style="{size}"'
    return Markup(svg.replace("<svg", f"<svg {shown}", 1))
