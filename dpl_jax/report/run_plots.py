"""Figures that every run has: its curves, and the prompt lengths of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dpl_jax.summary.plots import BLUE, INK, ORANGE, legend_above, new_figure

SPLITS = {"train": ("training images", BLUE, "-"), "val": ("validation images", ORANGE, "--")}
MOST_BAR_LABELS = 16


def curves(rows: Sequence[Mapping[str, Any]], name: str, axis: str, scale: float = 1.0) -> Figure:
    """A number of every epoch, of the training and (in a search) of the validation images.

    Args:
      rows: of metrics.jsonl.
      name: "loss" or "accuracy".
      axis: label of the vertical axis.
      scale: 100 for percent.
    """
    figure = new_figure(2.9)
    axes = figure.subplots()
    for split, (label, colour, dashes) in SPLITS.items():
        points = [
            (row["epoch"], scale * row[f"{split}_{name}"])
            for row in rows
            if row.get(f"{split}_{name}") is not None
        ]
        if points:
            marker = "o" if len(points) == 1 else ""
            axes.plot(*zip(*points, strict=True), dashes, color=colour, label=label, marker=marker)
    axes.set_xlabel("epoch")
    axes.set_ylabel(axis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10], integer=True))
    axes.grid(axis="y")
    axes.margins(x=0.01)
    legend_above(axes)
    return figure


def length_bars(lengths: Sequence[int], longest: int, colour: str) -> Figure:
    """The prompt tokens of one tower, a bar a layer.

    Args:
      lengths: (N,).
      longest: the top of the axis, so that both towers' figures compare.
      colour: of the tower.
    """
    figure = new_figure(2.3)
    axes = figure.subplots()
    layers = np.arange(1, len(lengths) + 1)
    bars = axes.bar(layers, lengths, width=0.66, color=colour)
    if len(lengths) <= MOST_BAR_LABELS:
        axes.bar_label(bars, padding=2, fontsize=8.5, color=INK)
    axes.set(ylim=(0, 1.15 * max(longest, 1)), xlabel="layer", ylabel="prompt tokens")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_xticks(layers)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    return figure
