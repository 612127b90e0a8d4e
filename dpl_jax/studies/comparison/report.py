"""A comparison's table and plot, from the contents of its compare.json."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dpl_jax.summary.intervals import (
    MeanInterval,
    mean_interval,
    over_seeds,
    paired_difference,
)
from dpl_jax.summary.plots import BLUE, GREY, ORANGE, new_figure, plot_style, save_plot
from dpl_jax.summary.table import Cell

REFERENCE = "dpl"
COLUMNS = (
    "method",
    "accuracy %",
    "95 % interval",
    "minus DPL",
    "95 % interval ",
    "macro-F1 %",
    "calibration error %",
    "prompt tokens",
    "parameters",
    "seconds",
)


def table(found: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows, a row a method: means over the seeds with 95 % t-intervals.

    "minus DPL" is the mean of the differences seed by seed, with the interval of that mean: a
    method is better or worse than DPL only where it leaves out 0, which a star marks.
    """
    return list(COLUMNS), [_row(found, name) for name in found["methods"]]


def difference(found: Mapping[str, Any], name: str) -> MeanInterval:
    """Accuracy of a method minus that of DPL with the same seed, in percent."""
    return paired_difference(_accuracies(found, name), _accuracies(found, REFERENCE))


def clear(interval: MeanInterval) -> bool:
    """Whether an interval of a difference leaves out 0."""
    return interval.half_width is not None and abs(interval.mean) > interval.half_width


@plot_style()
def plot(found: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws every method's accuracy into ``path``.png and ``path``.svg; works without a display.

    Dots are the seeds, bars 95 % intervals of the mean; a line goes through the mean of DPL.
    """
    names = list(found["methods"])
    figure = new_figure(1.2 + 0.28 * len(names), width=7.5)
    axes = figure.subplots()
    for position, name in enumerate(reversed(names)):
        values = _accuracies(found, name)
        mean = mean_interval(values)
        colour = ORANGE if name == REFERENCE else BLUE
        axes.scatter(values, [position] * len(values), s=12, color=colour, alpha=0.35)
        width = mean.half_width or 0.0
        axes.errorbar(mean.mean, position, xerr=width, color=colour, marker="o", capsize=3)
    axes.axvline(
        mean_interval(_accuracies(found, REFERENCE)).mean,
        color=GREY,
        linestyle="--",
        linewidth=1,
    )
    axes.set_yticks(range(len(names)), [found["methods"][name]["title"] for name in names[::-1]])
    axes.set_xlabel("test accuracy (%)")
    axes.set_title(f"{found['dataset']}, {found['shots']} shots", fontsize=11, loc="left")
    axes.grid(axis="x")
    save_plot(figure, path)


def _row(found: Mapping[str, Any], name: str) -> list[Cell]:
    seeds = _seeds(found, name)
    against = None if name == REFERENCE else difference(found, name)
    star = " *" if against is not None and clear(against) else ""
    mean, _, width = over_seeds(seeds, "accuracy").cells()
    return [
        found["methods"][name]["title"],
        mean,
        width,
        None if against is None else f"{against.mean:+.2f}{star}",
        None if against is None else against.cells()[2],
        over_seeds(seeds, "macro_f1").mean,
        over_seeds(seeds, "calibration_error").mean,
        _mean_where_told(seeds, "prompt_tokens"),
        round(over_seeds(seeds, "parameters", scale=1).mean),
        _mean_where_told(seeds, "seconds"),
    ]


def _mean_where_told(seeds: Sequence[Mapping[str, Any]], field: str) -> float | None:
    """The mean over the seeds; None for what a method does not have, such as prompts."""
    told = [seed for seed in seeds if seed[field] is not None]
    return over_seeds(told, field, scale=1).mean if told else None


def _seeds(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """What a method found with every seed, in the order of the seeds."""
    seeds = found["methods"][name]["seeds"]
    return [seeds[seed] for seed in sorted(seeds, key=int)]


def _accuracies(found: Mapping[str, Any], name: str) -> list[float]:
    """Of every seed, in percent."""
    return [100 * seed["accuracy"] for seed in _seeds(found, name)]
