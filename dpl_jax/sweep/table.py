"""The one table that a sweep ends in: means and 95 % intervals beside published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpl_jax.demo import METHODS
from dpl_jax.json_files import read_json, write_json, write_text
from dpl_jax.protocols.record import describe_runs, interval, over_seeds, percent, spread_cells
from dpl_jax.sweep.grid import PAPER
from dpl_jax.sweep.published import AVERAGE, WHOLE_GRID, Published, backbone, published, sources
from dpl_jax.sweep.watch import Entry
from dpl_jax.table import Cell, csv_table, markdown_table

COLUMNS = ("dataset", "shots", "seeds", "zero-shot %", "DPL %", "std", "95 % interval")


def make_record(entries: Sequence[Entry], workdir: Path) -> dict[str, Any]:
    """All that was found, as table.json holds it; accuracies from 0 to 1, published ones in %.

    Args:
      entries: all cells; those that have not finished are listed by name.
      workdir: the sweep's folder.
    """
    done = [entry for entry in entries if entry.state == "finished"]
    trainings = [entry.folder / "train" for entry in done]
    common, runs = (
        describe_runs(workdir, [entry.folder / "search" for entry in done], trainings)
        if done
        else ({}, [])
    )
    for entry, run in zip(done, runs, strict=True):
        results = read_json(entry.folder / "train" / "results.json")
        run |= {**entry.cell._asdict(), "test": results["evaluations"]["test"]}
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["dataset"], run["shots"]), []).append(run)
    rows = [_row(dataset, shots, group) for (dataset, shots), group in groups.items()]
    return {
        "rows": rows + _averages(entries, groups),
        "unfinished": {
            entry.cell.name: entry.message for entry in entries if entry.state != "finished"
        },
        "published": {"backbone": backbone(), "sources": sources()},
        "runs": runs,
    } | common


def table(record: Mapping[str, Any], every: bool = False) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows, in percent; published numbers that exist for any of the rows.

    Args:
      record: of :func:`make_record`.
      every: all published numbers, not only those of sources that cover the whole grid.
    """
    columns: list[str] = []
    for row in record["rows"]:
        for found in map(_published, row["published"]):
            wanted = every or found.source in WHOLE_GRID
            if wanted and found.column not in columns:
                columns.append(found.column)
    rows: list[list[Cell]] = []
    for row in record["rows"]:
        known = {each.column: each.accuracy for each in map(_published, row["published"])}
        dpl = percent(row["dpl"]["accuracy"])
        own: list[Cell] = [row["dataset"], row["shots"], len(row["seeds"])]
        own += [percent(row["zero_shot"]["accuracy"]).mean, dpl.mean, *spread_cells(dpl)]
        rows.append([*own, *(known.get(column) for column in columns)])
    return [*COLUMNS, *columns], rows


def write_tables(record: Mapping[str, Any], workdir: Path) -> None:
    """Writes table.json, table.csv (every published number) and table.md."""
    write_json(workdir / "table.json", record)
    write_text(workdir / "table.csv", csv_table(*table(record, every=True)))
    parts = [markdown_table(*table(record)), caption(record)]
    other = _others(record)
    if other:
        columns = ("dataset", "shots", "method", "source", "accuracy %")
        parts += ["Further published numbers:", markdown_table(columns, other)]
    used = {each["source"] for row in record["rows"] for each in row["published"]}
    about = record["published"]["sources"]
    parts += ["\n".join(f"- [{letter}] {about[letter]}." for letter in sorted(used))]
    write_text(workdir / "table.md", "\n\n".join(filter(None, parts)) + "\n")


def caption(record: Mapping[str, Any]) -> str:
    """What the table's numbers are."""
    said = "Top-1 test accuracy, mean over the seeds with its 95 % interval (Student's t)."
    if any(row["published"] for row in record["rows"]):
        ours = record["clip"]["path"] if "clip" in record else "several CLIPs"
        letters = "letters name the sources, docs/sweeps.md"
        said += f" Columns with a letter: published, {backbone()} ({letters}); ours: {ours}."
    return said


def _row(dataset: str, shots: int, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "shots": shots,
        "seeds": [run["seed"] for run in runs],
        **over_seeds([run["test"] for run in runs]),
        "published": [each._asdict() for each in published(dataset, shots)],
    }


def _averages(
    entries: Sequence[Entry], groups: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """A row for each number of shots with which every dataset has finished with every seed.

    The accuracy is averaged over the datasets within each seed, and then over the seeds.
    """
    datasets = list(dict.fromkeys(entry.cell.dataset for entry in entries))
    seeds = list(dict.fromkeys(entry.cell.seed for entry in entries))
    rows = []
    for shots in dict.fromkeys(entry.cell.shots for entry in entries):
        runs = [run for dataset in datasets for run in groups.get((dataset, shots), ())]
        if len(datasets) == 1 or len(runs) < len(datasets) * len(seeds):
            continue
        whole = set(datasets) == set(PAPER)
        row = {"dataset": f"{AVERAGE} of {len(datasets)}", "shots": shots, "seeds": seeds}
        for method in METHODS:
            by_seed = [
                [run["test"][method]["accuracy"] for run in runs if run["seed"] == seed]
                for seed in seeds
            ]
            means = [sum(values) / len(values) for values in by_seed]
            row[method] = {"accuracy": interval(means)}
        known = published(AVERAGE, shots) if whole else []
        rows.append(row | {"published": [each._asdict() for each in known]})
    return rows


def _others(record: Mapping[str, Any]) -> list[list[Cell]]:
    """Published numbers that are in no column of the table."""
    return [
        [row["dataset"], row["shots"], found.method, found.source, found.accuracy]
        for row in record["rows"]
        for found in map(_published, row["published"])
        if found.source not in WHOLE_GRID
    ]


def _published(fields: Mapping[str, Any]) -> Published:
    return Published(**fields)
