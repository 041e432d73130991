"""A matplotlib figure as inline SVG, wide and narrow, with colours from the style sheet. Knows no content."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Colours that occur nowhere else in a figure: each becomes a CSS variable, so one drawing serves light, dark and print.
ACCENT, INK, MUTED, LINE = "#010203", "#020301", "#030102", "#030201"
SERIES = (ACCENT, "#010205", "#010206", "#010207", "#010208", "#010209", INK, MUTED)
MARKERS = "osD^vPX*"
VARIABLES = {ACCENT: "var(--accent)", INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--series-{place})" for place, colour in enumerate(SERIES[1:6], start=2)
}
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": MUTED,
    "axes.titlepad": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.labelcolor": INK,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 2,
    "lines.markersize": 5,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as two `<svg>` elements: wide for a desktop or paper, narrow for a phone."""

    wide: str
    narrow: str


def drawing(
    draw: Callable[[Figure, bool], None], wide: tuple[float, float], narrow: tuple[float, float], name: str
) -> Drawing:
    """Draw a figure in two sizes, in inches; `name` is unique on the page and is the label for screen readers."""
    sizes = {"wide": wide, "narrow": narrow}
    return Drawing(**{key: _svg(draw, inches, f"{name} {key}") for key, inches in sizes.items()})


def style_of(families: tuple[str, ...], family: str) -> dict[str, Any]:
    """Return the colour and marker of a family, the same in every figure."""
    place = families.index(family)
    return {"color": SERIES[place % len(SERIES)], "marker": MARKERS[place % len(MARKERS)]}


def _svg(draw: Callable[[Figure, bool], None], inches: tuple[float, float], name: str) -> str:
    """Draw a figure and return its `<svg>` element; `name` keeps the identifiers of several figures apart."""
    buffer, salt = io.StringIO(), re.sub(r"\W+", "-", name)
    with rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure, name.endswith("narrow"))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return _inline(text, salt)


def _inline(text: str, salt: str) -> str:
    """Return an SVG file as an element for a page: no prologue, metadata or fixed size, and identifiers made unique."""
    box = re.search(r'viewBox="[^"]+"', text)
    body = text[text.index("</metadata>") + len("</metadata>") :].replace("xlink:href", "href")
    body = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{salt}-", body)
    label = re.sub(r"^run-\d+-|-(wide|narrow)$", "", salt).replace("-", " ")
    return f'<svg {box[0] if box else ""} role="img" aria-label="{label}">{body}'
