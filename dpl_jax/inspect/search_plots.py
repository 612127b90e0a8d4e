"""Figures that compare alphas: of two searches, and within smaller limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dpl_jax.prompts.trees import TOWERS
from dpl_jax.report.alpha_plots import TOWER_COLOURS
from dpl_jax.report.cells import draw_cell, finish_cells, frame_cell
from dpl_jax.summary.plots import BLUE, ORANGE, new_figure

WIDTH = 7.5  # inches; a figure has the width of a notebook to itself


def difference_maps(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], names: Sequence[str]
) -> Figure:
    """Where two searches put their weight: a panel per tower, in percentage points.

    Args:
      one: softmax weights {"image": (N, T + 1), "text": (N, T + 1)}.
      other: the same of the other search.
      names: of the two, for the legend.
    """
    differences = {tower: np.asarray(one[tower]) - np.asarray(other[tower]) for tower in TOWERS}
    strongest = max(0.25, *(float(np.abs(values).max()) for values in differences.values()))
    figure = new_figure(1.1 + 0.31 * max(map(len, differences.values())), WIDTH)
    for axes, (tower, values) in zip(figure.subplots(1, 2), differences.items(), strict=True):
        for (layer, length), value in np.ndenumerate(values):
            colour = BLUE if value > 0 else ORANGE
            draw_cell(axes, layer, length, f"{100 * value:+z.0f}", colour, abs(value) / strongest)
        for weights, colour, inset in ((one, BLUE, 0.0), (other, ORANGE, 0.07)):
            for layer, length in enumerate(np.argmax(weights[tower], axis=-1)):
                frame_cell(axes, layer, int(length), colour, inset)
        finish_cells(axes, values.shape)
        axes.set_title(f"{tower} tower", loc="left")
        axes.set_xlabel("prompt tokens")
    handles = [
        Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=colour, linewidth=2)
        for colour in (BLUE, ORANGE)
    ]
    labels = [f"more weight, and the choice, in {name}" for name in names]
    figure.legend(handles, labels, loc="outside upper left", ncols=2, handlelength=1.2)
    return figure


def lengths_within(lengths: Mapping[int, Mapping[str, Any]]) -> Figure:
    """The lengths that each limit on the prompt tokens leads to, a panel per tower.

    Args:
      lengths: {"image": (N,), "text": (N,)} by the limit.
    """
    longest = max(lengths)
    figure = new_figure(0.9 + 0.31 * len(lengths), WIDTH)
    for axes, tower in zip(figure.subplots(1, 2), TOWERS, strict=True):
        values = np.stack([own[tower] for own in lengths.values()])  # (limits, N)
        for (row, layer), length in np.ndenumerate(values):
            draw_cell(axes, row, layer, str(length), TOWER_COLOURS[tower][0], length / longest)
        finish_cells(axes, values.shape, first=1)
        axes.set_title(f"{tower} tower", loc="left")
        axes.set_yticks(range(len(lengths)), [str(limit) for limit in lengths])
        axes.set(xlabel="layer", ylabel="limit")
    return figure
