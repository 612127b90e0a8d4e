"""The whole method on one task: search, train and evaluate, over one or several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dpl_jax.studies.checks import check_numbers
from dpl_jax.studies.finished_stages import evaluate_once, search_once, train_once
from dpl_jax.summary.intervals import over_seeds
from dpl_jax.summary.names import METHODS
from dpl_jax.summary.table import Cell


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

    Raises:
      ConfigError: for no seeds, one twice, or a negative one.
    """
    check_numbers("--seeds", seeds, least=0)
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
        mean, *spread = over_seeds(results, method, "accuracy").cells()
        f1 = over_seeds(results, method, "macro_f1").mean
        rows.append([name, mean, f1, *(spread if len(results) > 1 else ())])
    return columns, rows
