"""What the protocols write down in the same way: statistics over seeds, and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpl_jax.errors import ConfigError
from dpl_jax.files.json import read_json
from dpl_jax.runs.results import PROVENANCE
from dpl_jax.studies.demo import METHODS
from dpl_jax.summary.intervals import MeanInterval, mean_interval
from dpl_jax.summary.table import Cell

METRICS = ("accuracy", "macro_f1", "calibration_error")
SPREAD = ("std", "half_width")
FIELDS = (*PROVENANCE, "compute")
OWN = ("seed", "sampled_files")  # of each run, even where there is only one
Evaluation = Mapping[str, Any]  # of dpl_jax.evaluate.evaluate


def check_numbers(name: str, values: Sequence[int], least: int) -> None:
    """Checks shots or seeds.

    Raises:
      ConfigError: for none, one twice, or one below ``least``.
    """
    if not values or len(set(values)) < len(values) or min(values) < least:
        raise ConfigError(
            f"--{name} is {','.join(map(str, values))!r}; it must list different whole numbers of "
            f"at least {least}, such as --{name}=1,2,3"
        )


def over_seeds(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every method, ``{"dpl": {"accuracy": {"mean": ..}, ..}, ..}``, 0 to 1."""
    return {
        method: {
            metric: interval([each[method][metric] for each in evaluations]) for metric in METRICS
        }
        for method in METHODS
    }


def interval(values: Sequence[float]) -> dict[str, Any]:
    """``{"mean": .., "std": .., "half_width": ..}`` of :func:`mean_interval`, for JSON."""
    return mean_interval(values)._asdict()


def percent(found: Mapping[str, Any]) -> MeanInterval:
    """What :func:`interval` gave, in percent."""
    std, width = (None if found[name] is None else 100 * found[name] for name in SPREAD)
    return MeanInterval(100 * found["mean"], std, width)


def spread_cells(found: MeanInterval) -> list[Cell]:
    """Standard deviation and half-width of the 95 % interval, as cells of a table."""
    width = found.half_width
    return [found.std, None if width is None else f"± {width:.2f}"]


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
