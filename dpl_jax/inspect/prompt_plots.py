"""Figures of trained prompts: their geometry, the attention they get, what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dpl_jax.inspect.leave_out import LeftOut
from dpl_jax.inspect.prompt_geometry import Rows
from dpl_jax.prompts.trees import TOWERS
from dpl_jax.report.alpha_plots import TOWER_COLOURS
from dpl_jax.report.cells import draw_cell, finish_cells
from dpl_jax.summary.plots import BLUE, GREY, INK, ORANGE, new_figure

WIDTH = 7.5  # inches; a figure has the width of a notebook to itself
HEAT = "inferno"  # colours of a map over an image


def row_norms(rows: Mapping[str, Rows], layers: Mapping[str, int], start: float) -> Figure:
    """The norm of every prompt row, a dot each, by its layer.

    Args:
      rows: in use, of each tower.
      layers: N of each tower.
      start: standard deviation of the rows' numbers before training; its norm is drawn too.
    """
    figure = new_figure(2.7, WIDTH)
    for axes, tower in zip(figure.subplots(1, 2, sharey=True), TOWERS, strict=True):
        own, colour = rows[tower], TOWER_COLOURS[tower][0]
        norms = np.linalg.norm(own.vectors, axis=-1)
        places = own.layers + 1 + 0.07 * _spread(own.layers)
        axes.scatter(places, norms, s=26, color=colour)
        level = start * own.vectors.shape[-1] ** 0.5
        axes.axhline(level, color=GREY, linestyle=":", linewidth=1.4, label="before training")
        axes.set(xlabel="layer", xlim=(0.5, layers[tower] + 0.5), ylim=(0, None))
        axes.set_xticks(range(1, layers[tower] + 1))
        axes.set_title(f"{tower} tower", loc="left")
        axes.grid(axis="y")
    figure.axes[0].set_ylabel("norm of a row")
    figure.axes[1].legend(loc="lower right")
    return figure


def _spread(layers: np.ndarray) -> np.ndarray:
    """Numbers around 0 that tell the rows of each layer apart; layers (R,) in order."""
    counts = np.bincount(layers)
    return np.concatenate([np.arange(own) - (own - 1) / 2 for own in counts if own] or [[]])


def similarity_maps(similarity: Mapping[str, np.ndarray]) -> Figure:
    """Mean cosines (N, N) between the rows of every two layers, a panel per tower."""
    figure = new_figure(0.9 + 0.4 * max(map(len, similarity.values())), 5.6)
    for axes, (tower, values) in zip(figure.subplots(1, 2), similarity.items(), strict=True):
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                draw_cell(axes, i, j, f"{value:.2f}", BLUE if value > 0 else ORANGE, abs(value))
            else:
                draw_cell(axes, i, j, "·", GREY, 0.0)
        finish_cells(axes, values.shape, first=1)
        axes.set_title(f"{tower} tower", loc="left")
        axes.set_xlabel("layer")
    return figure


def mass_maps(masses: Mapping[str, np.ndarray]) -> Figure:
    """Attention to the prompts in percent, by layer and head; the largest has full colour.

    Args:
      masses: (N, H) shares by the title of their panel.
    """
    largest = max(0.01, *(float(values.max()) for values in masses.values()))
    figure = new_figure(1.0 + 0.31 * max(map(len, masses.values())), WIDTH)
    panels = figure.subplots(1, len(masses), squeeze=False)[0]
    for axes, (title, values) in zip(panels, masses.items(), strict=True):
        for (layer, head), value in np.ndenumerate(values):
            draw_cell(axes, layer, head, f"{100 * value:.0f}", BLUE, float(value) / largest)
        finish_cells(axes, values.shape, first=1)
        axes.set_title(title, loc="left")
        axes.set_xlabel("head")
    return figure


def maps_over_images(images: np.ndarray, maps: np.ndarray, titles: Sequence[str]) -> Figure:
    """Images in the upper row; below, where in them the attention to the prompts comes from.

    Args:
      images: (B, H, W, 3) uint8.
      maps: (B, H, W) shares of attention, see :mod:`dpl_jax.inspect.attention_mass`.
      titles: B of them.
    """
    figure = new_figure(3.2, WIDTH)
    panels = figure.subplots(2, len(images), squeeze=False)
    low, high = float(maps.min()), float(maps.max())
    for column, (image, own) in enumerate(zip(images, maps, strict=True)):
        grey = image.mean(axis=-1)
        panels[0, column].imshow(image, interpolation="nearest")
        panels[0, column].set_title(titles[column], loc="left")
        panels[1, column].imshow(grey, cmap="gray", interpolation="nearest")
        drawn = panels[1, column].imshow(own, cmap=HEAT, alpha=0.7, vmin=low, vmax=high)
    for axes in panels.ravel():
        axes.set_axis_off()
    bar = figure.colorbar(drawn, ax=panels[1].tolist(), shrink=0.9, pad=0.01)
    bar.set_label("attention to prompts")
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    return figure


def leave_out_bars(found: LeftOut, lengths: Mapping[str, Sequence[int]]) -> Figure:
    """How loss and accuracy change when a layer's prompts, or a tower's, are left out.

    Args:
      found: of :func:`dpl_jax.inspect.leave_out.leave_out`.
      lengths: (N,) of each tower, written at the layers.
    """
    figure = new_figure(4.4, WIDTH)
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, tower in enumerate(TOWERS):
        left_out = [*found.layer[tower], found.tower[tower]]
        loss = [own.loss - found.nothing.loss for own in left_out]
        accuracy = [100 * (own.accuracy - found.nothing.accuracy) for own in left_out]
        _draw_changes(panels[0, column], loss, tower, "{:+z.2f}")
        _draw_changes(panels[1, column], accuracy, tower, "{:+z.1f}")
        names = [f"{layer + 1}\n({own})" for layer, own in enumerate(lengths[tower])]
        panels[0, column].set_title(f"{tower} tower", loc="left")
        panels[1, column].set_xticks(
            range(len(left_out)), [*names, f"all\n({sum(lengths[tower])})"]
        )
        panels[1, column].set_xlabel("layer left out (its prompt tokens)")
    panels[0, 0].set_ylabel("change of loss")
    panels[1, 0].set_ylabel("change of accuracy, points")
    return figure


def _draw_changes(axes: Axes, changes: Sequence[float], tower: str, form: str) -> None:
    bars = axes.bar(range(len(changes)), changes, width=0.62, color=TOWER_COLOURS[tower][0])
    axes.bar_label(bars, fmt=form, padding=2, fontsize=8, color=INK)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.margins(y=0.2)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
