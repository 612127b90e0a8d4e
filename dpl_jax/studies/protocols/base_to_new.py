"""Base-to-new generalisation (CoCoOp, arXiv 2203.05557): trained on half of the classes.

The prompts are searched and trained on the base classes and tested on them and on the new ones,
each half among its own class names. H is the harmonic mean of the two accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.files.json import write_json
from dpl_jax.studies.demo import demo
from dpl_jax.studies.finished_stages import evaluate_once
from dpl_jax.studies.protocols.record import Evaluation, describe_runs, interval
from dpl_jax.summary.intervals import harmonic_mean, percent
from dpl_jax.summary.names import METHODS
from dpl_jax.summary.table import Cell

COLUMNS = ("method", "base %", "new %", "H %")
SEVERAL_SEEDS = ("std", "95 % interval", "H of the means %")


def base_to_new(config: ConfigDict, seeds: Sequence[int], workdir: str | Path) -> dict[str, Any]:
    """Searches and trains on the base classes, evaluates on base and new, for every seed.

    Args:
      config: see :mod:`dpl_jax.config`; its classes and seed are replaced.
      seeds: one run of each stage for every seed.
      workdir: gets the runs and base_to_new.json; what it has already is reused.

    Returns:
      The contents of base_to_new.json.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    workdir, config = Path(workdir), config.copy_and_resolve_references()
    config.data.classes = "base"
    found = demo(config, seeds, workdir)
    new_classes = config.copy_and_resolve_references()
    new_classes.data.classes = "new"
    news = [evaluate_once(run, new_classes) for run in found.trainings]
    common, runs = describe_runs(workdir, found.searches, found.trainings)
    for run, base, new in zip(runs, found.results, news, strict=True):
        run |= {"base": base, "new": new, "harmonic_mean": _harmonic_means(base, new)}
    summary = {method: _summary(runs, method) for method in METHODS}
    record = {"protocol": "base_to_new", "summary": summary, "runs": runs} | common
    write_json(workdir / "base_to_new.json", record)
    return record


def table(record: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows: accuracies and their harmonic mean H of every method.

    With several seeds, H is the mean of every seed's own, with its standard deviation and 95 %
    interval; the last column has the H of the mean accuracies, as published tables do.
    """
    several = len(record["runs"]) > 1
    rows: list[list[Cell]] = []
    for method, name in METHODS.items():
        found = record["summary"][method]
        mean, *spread = percent(found["harmonic_mean"]).cells()
        row: list[Cell] = [name, percent(found["base"]).mean, percent(found["new"]).mean, mean]
        if several:
            row += [*spread, 100 * found["harmonic_mean_of_means"]]
        rows.append(row)
    return [*COLUMNS, *(SEVERAL_SEEDS if several else ())], rows


def _harmonic_means(base: Evaluation, new: Evaluation) -> dict[str, float]:
    """H of the accuracies of one run, by method."""
    return {
        method: harmonic_mean(base[method]["accuracy"], new[method]["accuracy"])
        for method in METHODS
    }


def _summary(runs: Sequence[Mapping[str, Any]], method: str) -> dict[str, Any]:
    """Accuracies and H of one method over the seeds, 0 to 1."""
    base, new = (interval(runs, half, method, "accuracy") for half in ("base", "new"))
    return {
        "base": base,
        "new": new,
        "harmonic_mean": interval(runs, "harmonic_mean", method),
        "harmonic_mean_of_means": harmonic_mean(base["mean"], new["mean"]),
    }
