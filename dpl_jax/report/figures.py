"""How the figures of a report look, and how they get onto disk and into the page."""

from __future__ import annotations

import contextlib
import html
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpl_jax.files.json import write_file
from dpl_jax.files.printable import printable

# Okabe and Ito's blue and vermilion are told apart by colour-blind readers.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a919c"
INK, MUTED, GRID = "#1b1d21", "#5c6370", "#dfe3e8"
PAPER, HOLE, ON_BLUE = "#ffffff", "#fffffe", "#fffffd"
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
WIDTH = 5.0  # inches; two figures stand side by side on a wide page
PNG_DPI = 200
LONGEST_NAME = 26  # characters of a class name in a figure
STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.edgecolor": GREY,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,  # class names may hold a dollar sign
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dpl_jax",  # the same figure gives the same file
}


@contextlib.contextmanager
def report_style() -> Iterator[None]:
    """Within it, figures are drawn and saved in the style of the report."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # Names in scripts that the bundled font lacks are boxes in the PNG, and text in the page.
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font", category=UserWarning
        )
        yield


def use_report_style(dpi: int = 110) -> None:
    """Draws all figures from here on in the style of the report, as a notebook wants it."""
    matplotlib.rcParams.update(STYLE | {"figure.dpi": dpi})


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_above(axes: Axes, columns: int = 3) -> None:
    """A legend above the axes, off the lines."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        columnspacing=1.4,
        handlelength=1.8,
        borderaxespad=0.2,
    )


def ink_on(opacity: float) -> str:
    """The colour of text that can be read on a coloured cell of this opacity, 0 to 1."""
    return ON_BLUE if opacity > 0.72 else INK


def save_figure(figure: Figure, path: Path, label: str) -> str:
    """Writes ``path``.svg and ``path``.png, and returns the SVG for the page.

    Args:
      figure: drawn within :func:`report_style`.
      path: without a suffix.
      label: what a reader who cannot see the figure is told.
    """
    path.parent.mkdir(exist_ok=True)
    svg = path.with_name(f"{path.name}.svg")
    with write_file(svg) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
    with write_file(path.with_name(f"{path.name}.png")) as file:
        figure.savefig(file, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return inline_svg(svg.read_text(encoding="utf-8"), label)


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
