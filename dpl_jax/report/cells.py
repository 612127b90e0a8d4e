"""Maps of coloured cells with a number in each."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from dpl_jax.report.figures import ink_on

WIDTH, HEIGHT = 0.92, 0.86  # of a cell; the rest is the gap to the next


def draw_cell(axes: Axes, row: int, column: int, text: str, colour: str, share: float) -> None:
    """A cell with a text; a ``share`` of 1 is full colour, 0 hardly any."""
    opacity = 0.04 + 0.96 * share
    cell = _rectangle(row, column, 0.0)
    cell.set(facecolor=to_rgba(colour, opacity), edgecolor="none", linewidth=0)
    axes.add_patch(cell)
    axes.text(column, row, text, color=ink_on(opacity), ha="center", va="center", fontsize=8.5)


def frame_cell(axes: Axes, row: int, column: int, colour: str, inset: float = 0.0) -> None:
    """A frame on a cell's edge, or ``inset`` within it."""
    frame = _rectangle(row, column, inset)
    frame.set(facecolor="none", edgecolor=colour, linewidth=2.2)
    axes.add_patch(frame)


def finish_cells(axes: Axes, shape: tuple[int, ...], first: int = 0) -> None:
    """The axes of (rows, columns) of cells: layers from 1, columns from ``first``, no lines."""
    rows, columns = shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), ylabel="layer")
    axes.set_xticks(range(columns), [str(first + column) for column in range(columns)])
    axes.set_yticks(range(rows), [str(row + 1) for row in range(rows)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _rectangle(row: int, column: int, inset: float) -> Rectangle:
    width, height = WIDTH - 2 * inset, HEIGHT - 2 * inset
    return Rectangle((column - width / 2, row - height / 2), width, height)
