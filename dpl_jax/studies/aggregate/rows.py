"""Groups scores that differ in their seed alone, and aggregates each group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dpl_jax.errors import RunFolderError
from dpl_jax.runtime.launchers import command
from dpl_jax.studies.aggregate.records import NoResultsError, Record, find_runs, read_records
from dpl_jax.summary.intervals import MeanInterval, over_seeds
from dpl_jax.summary.names import METRICS
from dpl_jax.summary.table import Cell

ORDER = ("dataset", "classes", "kind", "evaluated on", "shots", "CLIP", "template", "settings")


class Row(NamedTuple):
    """One method under one setting, over the seeds.

    Attributes:
      about: as of :class:`dpl_jax.studies.aggregate.records.Record`, and the "settings" that tell
        it from the other rows of its kind.
      seeds: how many.
      metrics: in percent; None for one that some of the runs have not.
    """

    about: dict[str, Cell]
    seeds: int
    metrics: dict[str, MeanInterval | None]


def aggregate(paths: Iterable[Path]) -> tuple[list[Row], dict[str, list[Path]]]:
    """Rows of all runs among the folders or in them; and what was left out, by the reason.

    Raises:
      RunFolderError: when no run has results.
    """
    paths = list(paths)
    records: list[Record] = []
    left_out: dict[str, list[Path]] = {}
    for run in find_runs(paths):
        try:
            records += read_records(run)
        except NoResultsError as error:
            left_out.setdefault(str(error), []).append(run)
    if not records:
        reasons = "; ".join(f"{_listed(runs)}: {reason}" for reason, runs in left_out.items())
        raise RunFolderError(
            f"No results were found ({reasons}). Name folders of finished runs, or folders that "
            f"contain some; {command('evaluate')} --run=RUN evaluates a run."
        )
    groups, repeated = group(records)
    if repeated:
        left_out["a seed that another run of the same settings has already"] = repeated
    return summarise(groups), left_out


def group(records: Iterable[Record]) -> tuple[list[dict[int, Record]], list[Path]]:
    """Records by seed, in groups that agree in all else; and runs whose seed was there before."""
    groups: dict[Any, dict[int, Record]] = {}
    repeated: list[Path] = []
    for record in records:
        key = (*record.about.items(), *sorted(record.settings.items()), record.images)
        if groups.setdefault(key, {}).setdefault(record.seed, record) is not record:
            repeated += [record.run] * (record.run not in repeated)
    return list(groups.values()), repeated


def summarise(groups: Sequence[dict[int, Record]]) -> list[Row]:
    """One row a group, in the order of dataset, kind, shots and settings."""
    firsts = [next(iter(seeds.values())) for seeds in groups]
    differing = differing_settings(firsts)
    rows = []
    for first, seeds in zip(firsts, groups, strict=True):
        own = {name: first.settings[name] for name in differing if name in first.settings}
        settings = ", ".join(f"{name}={value}" for name, value in own.items())
        metrics = {metric: _mean(metric, list(seeds.values())) for metric in METRICS}
        rows.append(Row(first.about | {"settings": settings}, len(seeds), metrics))
    return sorted(rows, key=lambda row: [_natural(row.about[name]) for name in ORDER])


def differing_settings(records: Sequence[Record]) -> list[str]:
    """Names of the settings that differ between runs of the same kind."""
    names: set[str] = set()
    for kind in {record.about["kind"] for record in records}:
        own = [record.settings for record in records if record.about["kind"] == kind]
        every = set().union(*own)
        names |= {name for name in every if len({settings.get(name) for settings in own}) > 1}
    return sorted(names)


def _mean(metric: str, records: Sequence[Record]) -> MeanInterval | None:
    """Over the seeds, in percent."""
    if not all(metric in record.scores for record in records):
        return None
    return over_seeds([record.scores for record in records], metric)


def _natural(cell: Cell) -> list[str | int]:
    """Sorts T=4 before T=10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(cell))]


def _listed(runs: Sequence[Path]) -> str:
    return ", ".join(map(str, runs))
