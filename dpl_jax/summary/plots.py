"""What the plots of accuracies have in common: colours, series with intervals, axes, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from dpl_jax.files.json import write_file
from dpl_jax.files.printable import LINES, printable
from dpl_jax.summary.intervals import mean_interval

BLUE, ORANGE, GREY = "#1f5fa8", "#d9822b", "#666666"
PNG_DPI = 200


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
        linewidth=1.8,
        elinewidth=1.0,
        label=name,
    )
    for position, of_seeds in zip(positions, values, strict=True):
        axes.scatter([position] * len(of_seeds), of_seeds, s=9, color=colour, alpha=0.4, zorder=1)


def draw_level(axes: Axes, value: float, name: str) -> None:
    """Draws a dashed line across the axes, for a number that does not depend on x."""
    axes.axhline(value, color=GREY, linestyle="--", linewidth=1.2, label=name)


def finish_axes(axes: Axes) -> None:
    """A legend above the axes, horizontal lines, and no frame at the top and the right."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        columnspacing=1.2,
        handlelength=1.6,
        frameon=False,
        fontsize=8,
    )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_plot(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes ``path``.png and ``path``.svg; works without a display."""
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text(), kept=LINES))
        text.set_parse_math(False)  # names may hold a dollar sign
    for suffix in ("png", "svg"):
        with write_file(Path(f"{os.fspath(path)}.{suffix}")) as file:
            figure.savefig(file, format=suffix, dpi=PNG_DPI)
