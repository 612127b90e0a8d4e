"""How figures get into the page of a report: their colours there, their names, their SVG."""

from __future__ import annotations

import html
import re
from pathlib import Path

from matplotlib.figure import Figure

from dpl_jax.files.printable import printable
from dpl_jax.summary.plots import BLUE, GREY, GRID, INK, MUTED, ORANGE, PAPER, save_plot

HOLE, ON_BLUE = "#fffffe", "#fffffd"
# In the page these colours are those of style.css, which has other ones for dark screens.
VARIABLES = {
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREY: "var(--grey)",
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "none",
    HOLE: "var(--paper)",
    ON_BLUE: "var(--on-blue)",
}
LONGEST_NAME = 26  # characters of a class name in a figure


def ink_on(opacity: float) -> str:
    """The colour of text that can be read on a coloured cell of this opacity, 0 to 1."""
    return ON_BLUE if opacity > 0.72 else INK


def save_figure(figure: Figure, path: Path, label: str) -> str:
    """Writes ``path``.svg and ``path``.png, and returns the SVG for the page.

    Args:
      figure: drawn within :func:`dpl_jax.summary.plots.plot_style`.
      path: without a suffix.
      label: what a reader who cannot see the figure is told.
    """
    path.parent.mkdir(exist_ok=True)
    save_plot(figure, path)
    return inline_svg(path.with_name(f"{path.name}.svg").read_text(encoding="utf-8"), label)


def inline_svg(svg: str, label: str) -> str:
    """An SVG file as an element of a page: its size from the page, colours from style.css."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[^"]*_\d+"', "", svg)  # several figures would repeat them
    head, tag_end, body = svg.partition(">")
    width = re.search(r'width="([\d.]+)pt"', head)
    size = f'style="--width: {float(width[1]):g}"' if width else ""
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    head = f'{head} role="img" aria-label="{html.escape(printable(label))}" {size}'
    for colour, variable in VARIABLES.items():
        body = re.sub(rf"(fill|stroke): {colour}\b", rf"\1: {variable}", body)
    return head + tag_end + body


def short_name(name: str) -> str:
    """A class name that fits a figure: printable, and cut where it is long."""
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
