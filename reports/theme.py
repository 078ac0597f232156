"""Figures as SVG that takes its colours from the page, light or dark, and needs no script for its tool tips.

A figure is drawn in stand-in colours, one for each role; in the SVG they become CSS variables of that name. What an
artist's `gid` says after `tip:` is shown when the pointer rests on it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from xml.etree import ElementTree

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure

N_SERIES = 8
INK, MUTED, GRID, BAD, LIMIT, ON_SERIES = (f"#0101{number:02x}" for number in range(1, 7))
SERIES = tuple(f"#0102{number:02x}" for number in range(1, N_SERIES + 1))
ROLES = {INK: "ink", MUTED: "muted", GRID: "grid", BAD: "bad", LIMIT: "limit", ON_SERIES: "on-series"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)
}
TIP = "tip:"

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.prop_cycle": matplotlib.cycler(color=SERIES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
}
_numbers = count()


@contextmanager
def themed() -> Iterator[None]:
    """Figures drawn inside have the page's look."""
    # The salt keeps the ids of two figures on one page apart, and those of one report the same from run to run.
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": f"figure {next(_numbers)}"}):
        yield


def tip(artist: Artist, text: str) -> None:
    """Shows the text when the pointer rests on the artist."""
    artist.set_gid(TIP + text)


def to_svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element to stand in a page; the description is read out to who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.03, metadata={"Date": None}
    )
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if (link := element.attrib.pop(f"{{{_XLINK}}}href", None)) is not None:
            element.set("href", link)
    text = ElementTree.tostring(root, encoding="unicode")
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    for element in list(root.iter()):
        identity = element.get("id", "")
        if identity.startswith(TIP):
            title = ElementTree.Element("title")
            title.text = identity.removeprefix(TIP)
            element.insert(0, title)
        if identity and identity not in wanted:
            del element.attrib["id"]
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", description)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r"#01[0-9a-f]{4}", lambda found: _variable(found[0]), text)


def _variable(colour: str) -> str:
    return f"var(--{ROLES[colour]})" if colour in ROLES else colour
