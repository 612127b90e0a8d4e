"""Figures of an evaluation: the accuracy of every class, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dpl_jax.report.figures import HOLE, ink_on, short_name
from dpl_jax.summary.plots import BLUE, GREY, INK, ORANGE, WIDTH, legend_above, new_figure

MOST_CLASSES = 40  # of the dots; the hardest ones where there are more
MATRIX_CLASSES = 100  # from here on the pairs alone are shown
MOST_COUNTS = 20  # classes of a matrix with its numbers written in


def class_dots(
    accuracy: np.ndarray, zero_shot: np.ndarray | None, classnames: Sequence[str]
) -> Figure:
    """Accuracy of every class, hardest first, with an arrowless line from zero-shot CLIP's.

    Args:
      accuracy: (C,) 0 to 1; NaN for a class without images.
      zero_shot: (C,) likewise, or None.
      classnames: C.
    """
    order = np.argsort(accuracy, kind="stable")  # NaN last
    order = order[: int(np.isfinite(accuracy).sum())][:MOST_CLASSES]
    figure = new_figure(0.9 + 0.23 * len(order))
    axes = figure.subplots()
    rows = np.arange(len(order))
    if zero_shot is not None:
        _draw_gains(axes, rows, 100 * zero_shot[order], 100 * accuracy[order])
    axes.plot(100 * accuracy[order], rows, "o", color=BLUE, markersize=6.5, label="DPL")
    axes.set_yticks(rows, [short_name(classnames[label]) for label in order], color=INK)
    axes.set(xlim=(-2, 102), ylim=(len(order) - 0.4, -0.6), xlabel="accuracy (%)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    legend_above(axes)
    return figure


def matrix(confusion: np.ndarray, classnames: Sequence[str]) -> Figure:
    """The confusion matrix (C, C); a cell's colour is its share of the class's images.

    Correct ones are blue and errors orange. Cells without images stay empty.
    """
    classes = len(confusion)
    names = [short_name(name) for name in classnames]
    grid = max(2.6, classes * (0.34 if classes <= MOST_COUNTS else 0.17))  # inches
    margin = 0.7 + 0.07 * max(map(len, names))
    figure = new_figure(grid + margin, max(WIDTH, grid + margin))
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # (C, C)
    for true, predicted in np.argwhere(confusion):
        _draw_count(axes, true, predicted, confusion, shares[true, predicted])
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    size = 8.5 if classes <= MOST_COUNTS else 7
    axes.set_xticks(range(classes), names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.add_patch(
        Rectangle((-0.5, -0.5), classes, classes, facecolor="none", edgecolor=GREY, linewidth=0.8)
    )
    return figure


def confused_pairs(confusion: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """The (true, predicted, images) of the most frequent errors, most frequent first.

    Args:
      confusion: (C, C) counts, true classes by row.
      most: how many pairs at most.
    """
    errors = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))  # (C, C)
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(confusion)) for place in order]
    return [(t, p, int(errors[t, p])) for t, p in pairs if errors[t, p] > 0]


def _draw_gains(axes: Axes, rows: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    for row, start, end in zip(rows, before, after, strict=True):
        colour = BLUE if end >= start else ORANGE
        axes.plot([start, end], [row, row], color=colour, alpha=0.45, linewidth=2.4)
    axes.plot(
        before,
        rows,
        "o",
        markerfacecolor=HOLE,
        markeredgecolor=GREY,
        markeredgewidth=1.4,
        markersize=6,
        label="zero-shot CLIP",
    )


def _draw_count(axes: Axes, true: int, predicted: int, confusion: np.ndarray, share: float) -> None:
    colour = BLUE if true == predicted else ORANGE
    cell = Rectangle((predicted - 0.5, true - 0.5), 1, 1)
    opacity = 0.08 + 0.92 * share**0.5  # the root lets rare errors be seen
    cell.set(facecolor=to_rgba(colour, opacity), edgecolor="none", linewidth=0)
    axes.add_patch(cell)
    if len(confusion) <= MOST_COUNTS:
        text = str(confusion[true, predicted])
        axes.text(
            predicted, true, text, color=ink_on(opacity), ha="center", va="center", fontsize=8.5
        )
