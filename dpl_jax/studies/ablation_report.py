"""An ablation's table and plot, from the contents of its ablation.json."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from dpl_jax.summary.intervals import mean_interval, over_seeds
from dpl_jax.summary.plots import (
    BLUE,
    ORANGE,
    draw_level,
    draw_series,
    finish_axes,
    new_figure,
    plot_style,
    save_plot,
)
from dpl_jax.summary.table import Cell

COLUMNS = (
    "T",
    "accuracy %",
    "std",
    "95 % interval",
    "supernet %",
    "prompt tokens",
    "confidence",
)


def table(found: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows: zero-shot, then one row a maximum context length, over the seeds.

    Accuracy is of the prompts trained in stage 2, "supernet" of the searched supernet itself;
    tokens (of both towers) and confidence (mean over the layers) are means over the seeds.
    """
    zero_shot = 100 * found["zero_shot"]["accuracy"]
    rows: list[list[Cell]] = [["zero-shot", zero_shot, None, None, None, None, None]]
    for longest, members in by_length(found).items():
        confidence = [value for member in members for value in _confidences(member)]
        rows.append(
            [
                str(longest),
                *over_seeds(members, "dpl", "accuracy").cells(),
                over_seeds(members, "supernet", "accuracy").mean,
                over_seeds(members, "prompt_tokens", scale=1).mean,
                mean_interval(confidence).mean,
            ]
        )
    return list(COLUMNS), rows


def by_length(found: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """The members of each maximum context length, in ascending order."""
    lengths = sorted({member["max_context_length"] for member in found["members"]})
    return {
        length: [m for m in found["members"] if m["max_context_length"] == length]
        for length in lengths
    }


@plot_style()
def plot(found: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws accuracy and prompt tokens over T into ``path``.png and ``path``.svg.

    Works without a display. Lines are means over the seeds, bars 95 % intervals, dots the seeds.
    """
    figure = new_figure(3.8, width=9)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.1})
    _draw_accuracy(left, found)
    _draw_tokens(right, found)
    figure.suptitle(f"{found['dataset']}, {found['shots']} shots", fontsize=11)
    save_plot(figure, path)


def _draw_accuracy(axes: Axes, found: Mapping[str, Any]) -> None:
    groups = by_length(found)
    for method, name, colour, shift in (
        ("dpl", "trained prompts", BLUE, -1),
        ("supernet", "supernet", ORANGE, 1),
    ):
        values = [[100 * m[method]["accuracy"] for m in members] for members in groups.values()]
        _draw_series(axes, list(groups), values, name, colour, shift)
    draw_level(axes, 100 * found["zero_shot"]["accuracy"], "zero-shot")
    axes.set_ylabel("test accuracy (%)")
    _finish(axes, list(groups))


def _draw_tokens(axes: Axes, found: Mapping[str, Any]) -> None:
    groups = by_length(found)
    for tower, colour, shift in (("image", BLUE, -1), ("text", ORANGE, 1)):
        values = [[sum(m["lengths"][tower]) for m in members] for members in groups.values()]
        _draw_series(axes, list(groups), values, f"{tower} tower", colour, shift)
    axes.set_ylabel("prompt tokens, all layers")
    axes.set_ylim(bottom=0)
    _finish(axes, list(groups))


def _draw_series(
    axes: Axes,
    lengths: Sequence[int],
    values: Sequence[Sequence[float]],
    name: str,
    colour: str,
    shift: int,
) -> None:
    """A series over T; ``shift`` keeps two of them apart."""
    gap = min((b - a for a, b in itertools.pairwise(lengths)), default=1)
    positions = [length + 0.04 * gap * shift for length in lengths]
    draw_series(axes, positions, values, name, colour)


def _finish(axes: Axes, lengths: Sequence[int]) -> None:
    axes.set_xlabel("maximum context length T")
    axes.set_xticks(list(lengths))
    finish_axes(axes)


def _confidences(member: Mapping[str, Any]) -> list[float]:
    return [*member["confidence"]["image"], *member["confidence"]["text"]]
