"""The whole method on one task: search, train and evaluate, over one or several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dpl_jax.studies.finished_stages import evaluate_once, search_once, train_once
from dpl_jax.summary.intervals import mean_interval
from dpl_jax.summary.table import Cell

METHODS = {"zero_shot": "zero-shot CLIP", "dpl": "DPL (searched, trained)"}


class Demo(NamedTuple):
    """What a demo found: the runs' folders, and the test result of every seed."""

    searches: list[Path]
    trainings: list[Path]
    results: list[dict[str, Any]]


def demo(config: ConfigDict, seeds: Sequence[int], workdir: str | Path) -> Demo:
    """Searches, trains and evaluates for every seed; what ``workdir`` has already is reused.

    Args:
      config: see :mod:`dpl_jax.config`; its seed is replaced.
      seeds: one run of each stage for every seed.
      workdir: gets the folders ``search-seedN`` and ``train-seedN``.
    """
    found = Demo([], [], [])
    for seed in seeds:
        config = config.copy_and_resolve_references()
        config.seed = seed
        searched = search_once(config, Path(workdir) / f"search-seed{seed}")
        trained = train_once(config, searched, Path(workdir) / f"train-seed{seed}")
        found.searches.append(searched)
        found.trainings.append(trained)
        found.results.append(evaluate_once(trained))
    return found


def table(results: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows: accuracy and macro-F1 of every method in percent, over the seeds.

    With several seeds the mean, the standard deviation and the half-width of the 95 % interval.
    """
    columns = ["method", "accuracy %", "macro-F1 %"]
    if len(results) > 1:
        columns += ["std", "95 % interval"]
    rows: list[list[Cell]] = []
    for method, name in METHODS.items():
        accuracy = mean_interval([100 * result[method]["accuracy"] for result in results])
        f1 = mean_interval([100 * result[method]["macro_f1"] for result in results])
        row: list[Cell] = [name, accuracy.mean, f1.mean]
        if accuracy.std is not None and accuracy.half_width is not None:
            row += [accuracy.std, f"± {accuracy.half_width:.2f}"]
        rows.append(row)
    return columns, rows
