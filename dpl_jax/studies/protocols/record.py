"""What the protocols write down in the same way: statistics over seeds, and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpl_jax.files.json import read_json
from dpl_jax.runs.results import PROVENANCE
from dpl_jax.summary.intervals import over_seeds
from dpl_jax.summary.names import METHODS, METRICS

FIELDS = (*PROVENANCE, "compute")
OWN = ("seed", "sampled_files")  # of each run, even where there is only one
Evaluation = Mapping[str, Any]  # of dpl_jax.evaluate.evaluate


def every_metric(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every method, ``{"dpl": {"accuracy": {"mean": ..}, ..}, ..}``, 0 to 1."""
    return {
        method: {metric: interval(evaluations, method, metric) for metric in METRICS}
        for method in METHODS
    }


def interval(found: Sequence[Mapping[str, Any]], *path: str) -> dict[str, Any]:
    """``{"mean": .., "std": .., "half_width": ..}`` over the seeds, for JSON."""
    return over_seeds(found, *path, scale=1)._asdict()


def describe_runs(
    workdir: Path, searches: Sequence[Path], trainings: Sequence[Path]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Where the numbers of several runs come from.

    Args:
      workdir: the folder that holds the runs.
      searches: their folders.
      trainings: their folders, in the same order.

    Returns:
      The provenance on which all trainings agree; and for each of them the rest (its seed, its
      sampled files) with the runs' folders and the lengths.
    """
    results = [read_json(run / "results.json") for run in trainings]
    fields = [name for name in FIELDS if all(name in each for each in results)]
    common = {
        name: results[0][name]
        for name in fields
        if name not in OWN and all(each[name] == results[0][name] for each in results)
    }
    rows = [
        {name: each[name] for name in fields if name not in common}
        | {
            "search": searched.relative_to(workdir).as_posix(),
            "train": trained.relative_to(workdir).as_posix(),
            "lengths": each["lengths"],
        }
        for each, searched, trained in zip(results, searches, trainings, strict=True)
    ]
    return common, rows
