"""Figures of a search: alpha's softmax weights, how they came about, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dpl_jax.report.cells import draw_cell, finish_cells, frame_cell
from dpl_jax.summary.plots import BLUE, GREY, ORANGE, PAPER, legend_above, new_figure

TOWER_COLOURS = {"image": (BLUE, "-"), "text": (ORANGE, "--")}
MOST_POINTS = 80  # of a line over the epochs; more than a panel can show


def heat_map(weights: np.ndarray, lengths: Sequence[int], strongest: float) -> Figure:
    """One tower's weights, a row per layer; the chosen lengths are framed.

    Args:
      weights: (N, T + 1) softmax of alpha.
      lengths: (N,) chosen.
      strongest: the weight that is drawn in full colour.
    """
    figure = new_figure(0.9 + 0.31 * len(weights))
    axes = figure.subplots()
    for (layer, length), weight in np.ndenumerate(weights):
        draw_cell(axes, layer, length, f"{100 * weight:.0f}", BLUE, weight / strongest)
    for layer, length in enumerate(lengths):
        frame_cell(axes, layer, length, ORANGE)
    finish_cells(axes, weights.shape)
    axes.set_xlabel("prompt tokens")
    return figure


def evolution(history: np.ndarray, epochs: Sequence[int]) -> Figure:
    """One tower's weights over the epochs, a panel per layer.

    Args:
      history: (epochs, N, T + 1) softmax of alpha.
      epochs: (epochs,) their numbers.
    """
    _, layers, candidates = history.shape
    columns = 4 if layers > 12 else 2 if layers in (1, 2, 4) else 3
    rows = math.ceil(layers / columns)
    figure = new_figure(0.75 + 1.2 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    kept = np.unique(np.linspace(0, len(epochs) - 1, MOST_POINTS).round().astype(int))
    colours = matplotlib.colormaps["viridis"](np.linspace(0.08, 0.97, candidates))
    labels = [str(length) for length in range(candidates)]
    areas = []
    for layer, axes in enumerate(panels[:layers]):
        layer_weights = history[kept, layer].T  # (T + 1, epochs)
        areas = axes.stackplot(
            np.asarray(epochs)[kept], layer_weights, colors=colours, labels=labels
        )
        for area in areas:
            area.set(edgecolor=PAPER, linewidth=0.3)
        axes.set_title(f"layer {layer + 1}", loc="left", pad=3, fontsize=8.5)
        axes.margins(0)
    for axes in panels[layers:]:
        axes.set_visible(False)
    _finish_panels(list(panels[:layers]), columns)
    figure.legend(
        handles=areas,
        loc="outside upper left",
        ncols=min(candidates, 7),
        title="prompt tokens",
        title_fontsize=8.5,
        alignment="left",
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.0,
    )
    return figure


def confidence(history: Mapping[str, np.ndarray], epochs: Sequence[int]) -> Figure:
    """The weight of the likeliest length, mean over the layers, with the range of the layers.

    Args:
      history: (epochs, N, T + 1) of each tower.
      epochs: (epochs,) their numbers.
    """
    values = {tower: weights.max(axis=-1) for tower, weights in history.items()}  # (epochs, N)
    figure, axes = _over_epochs(values, epochs)
    even = 1 / next(iter(history.values())).shape[-1]
    axes.axhline(even, color=GREY, linestyle=":", linewidth=1.4, label="all lengths alike")
    axes.set_ylabel("weight of the likeliest length")
    axes.set_ylim(bottom=0)
    legend_above(axes)
    return figure


def entropy(history: Mapping[str, np.ndarray], epochs: Sequence[int]) -> Figure:
    """Entropy of the weights in shares of the largest possible, ln(T + 1); as :func:`confidence`.

    Args:
      history: (epochs, N, T + 1) of each tower.
      epochs: (epochs,) their numbers.
    """
    values = {tower: relative_entropy(weights) for tower, weights in history.items()}
    figure, axes = _over_epochs(values, epochs)
    axes.set_ylabel("entropy, share of the largest")
    axes.set_ylim(top=1.0)
    legend_above(axes)
    return figure


def relative_entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy (..) of weights (.., T + 1) that sum to 1: 1 where all are alike, 0 for one alone."""
    logarithms = np.log(np.where(weights > 0, weights, 1.0))
    total = -(weights * logarithms).sum(axis=-1)
    return total / math.log(weights.shape[-1])


def _over_epochs(values: Mapping[str, np.ndarray], epochs: Sequence[int]) -> tuple[Figure, Any]:
    """Mean and range over the layers of each tower's values (epochs, N)."""
    figure = new_figure(2.9)
    axes = figure.subplots()
    for tower, of_layers in values.items():
        colour, dashes = TOWER_COLOURS[tower]
        lowest, highest = of_layers.min(axis=1), of_layers.max(axis=1)
        axes.fill_between(epochs, lowest, highest, color=colour, alpha=0.13, linewidth=0)
        mean = of_layers.mean(axis=1)
        axes.plot(epochs, mean, dashes, color=colour, label=f"{tower} tower")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10], integer=True))
    axes.grid(axis="y")
    axes.margins(x=0.01)
    return figure, axes


def _finish_panels(panels: Sequence[Axes], columns: int) -> None:
    for index, axes in enumerate(panels):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10], integer=True))
        axes.set_yticks([0, 0.5, 1])
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axes.tick_params(length=2)
        below = index + columns < len(panels)
        axes.tick_params(labelbottom=not below)
        axes.set_xlabel("" if below else "epoch")
