"""How all figures look, those of studies, reports and notebooks, and how they get onto disk."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from dpl_jax.files.json import write_file
from dpl_jax.files.printable import LINES, printable
from dpl_jax.summary.intervals import mean_interval

# Okabe and Ito's blue and vermilion are told apart by colour-blind readers.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a919c"
INK, MUTED, GRID = "#1b1d21", "#5c6370", "#dfe3e8"
PAPER = "#ffffff"
WIDTH = 5.0  # inches; two figures stand side by side on a wide page
PNG_DPI = 200
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
def plot_style() -> Iterator[None]:
    """Within it, figures are drawn and saved in the package's style; a decorator, too."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # Names in scripts that the bundled font lacks are boxes in the PNG, and text in the SVG.
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font", category=UserWarning
        )
        yield


def use_plot_style(dpi: int = 110) -> None:
    """Draws all figures from here on in the package's style, as a notebook wants it."""
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


def draw_series(
    axes: Axes,
    positions: Sequence[float],
    values: Sequence[Sequence[float]],
    name: str,
    colour: str,
) -> None:
    """Draws means over the seeds with 95 % intervals, and the seeds as dots.

    Args:
      axes: to draw into.
      positions: on the x axis.
      values: of the seeds, at each position.
      name: for the legend.
      colour: of line and dots.
    """
    means = [mean_interval(list(of_seeds)) for of_seeds in values]
    axes.errorbar(
        positions,
        [mean.mean for mean in means],
        yerr=[mean.half_width or 0.0 for mean in means],
        color=colour,
        marker="o",
        markersize=5,
        capsize=3,
        elinewidth=1.0,
        label=name,
    )
    for position, of_seeds in zip(positions, values, strict=True):
        axes.scatter([position] * len(of_seeds), of_seeds, s=9, color=colour, alpha=0.4, zorder=1)


def draw_level(axes: Axes, value: float, name: str) -> None:
    """Draws a dashed line across the axes, for a number that does not depend on x."""
    axes.axhline(value, color=GREY, linestyle="--", linewidth=1.2, label=name)


def finish_axes(axes: Axes) -> None:
    """A legend above the axes and horizontal lines, for a number on the y axis."""
    legend_above(axes)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(axis="y")


def save_plot(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes ``path``.png and ``path``.svg; works without a display.

    The same figure gives the same bytes, and names in it are printed as they are.
    """
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text(), kept=LINES))
        text.set_parse_math(False)  # names may hold a dollar sign
    unnamed: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {"Software": None}}
    for suffix, metadata in unnamed.items():
        with plot_style(), write_file(Path(f"{os.fspath(path)}.{suffix}")) as file:
            figure.savefig(file, format=suffix, dpi=PNG_DPI, metadata=metadata)
