"""The one table that a sweep ends in: means and 95 % intervals beside published numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dpl_jax.files.json import read_json, write_json, write_text
from dpl_jax.studies.protocols.record import describe_runs, every_metric
from dpl_jax.studies.sweep.grid import PAPER
from dpl_jax.studies.sweep.published import AVERAGE, about, published
from dpl_jax.studies.sweep.watch import Entry
from dpl_jax.summary.intervals import mean_interval, percent
from dpl_jax.summary.names import METHODS
from dpl_jax.summary.table import Cell, csv_table, markdown_table

COLUMNS = ("dataset", "shots", "seeds", "zero-shot %", "DPL %", "std", "95 % interval")
FURTHER = ("dataset", "shots", "method", "source", "accuracy %")
WHOLE_GRID = ("A", "B")  # the sources that have every dataset and every number of shots


def make_record(entries: Sequence[Entry], workdir: Path) -> dict[str, Any]:
    """All that was found, as table.json holds it; accuracies from 0 to 1, published ones in %.

    Args:
      entries: all cells, in the order of the grid; of those that have not finished, the messages.
      workdir: the sweep's folder.
    """
    done = [entry for entry in entries if entry.state == "finished"]
    searches, trainings = ([entry.folder / kind for entry in done] for kind in ("search", "train"))
    common, runs = describe_runs(workdir, searches, trainings) if done else ({}, [])
    for entry, run in zip(done, runs, strict=True):
        results = read_json(entry.folder / "train" / "results.json")
        run |= {**entry.cell._asdict(), "test": results["evaluations"]["test"]}
    groups = itertools.groupby(runs, lambda run: (run["dataset"], run["shots"]))
    rows = [
        {
            "dataset": dataset,
            "shots": shots,
            "seeds": [run["seed"] for run in group],
            **every_metric([run["test"] for run in group]),
            "published": published(dataset, shots),
        }
        for (dataset, shots), group in ((key, list(group)) for key, group in groups)
    ]
    return {
        "rows": rows + _averages(entries, runs),
        "unfinished": {
            entry.cell.name: entry.message for entry in entries if entry.state != "finished"
        },
        "published": about(),
        "runs": runs,
    } | common


def table(record: Mapping[str, Any], every: bool = False) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows, in percent; published numbers that exist for any of the rows.

    Args:
      record: of :func:`make_record`.
      every: all published numbers, not only those of sources that cover the whole grid.
    """
    columns: dict[str, None] = {}
    rows: list[tuple[list[Cell], dict[str, float]]] = []
    for row in record["rows"]:
        known = {
            f"{found['method']} [{found['source']}]": found["accuracy"]
            for found in row["published"]
            if every or found["source"] in WHOLE_GRID
        }
        columns |= dict.fromkeys(known)
        zero_shot, dpl = (percent(row[method]["accuracy"]) for method in ("zero_shot", "dpl"))
        own: list[Cell] = [row["dataset"], row["shots"], len(row["seeds"]), zero_shot.mean]
        rows.append(([*own, *dpl.cells()], known))
    return [*COLUMNS, *columns], [[*own, *map(known.get, columns)] for own, known in rows]


def write_tables(record: Mapping[str, Any], workdir: Path) -> None:
    """Writes table.json, table.csv (every published number) and table.md."""
    write_json(workdir / "table.json", record)
    write_text(workdir / "table.csv", csv_table(*table(record, every=True)))
    parts = [markdown_table(*table(record)), caption(record)]
    found = [(row, each) for row in record["rows"] for each in row["published"]]
    further: list[list[Cell]] = [
        [row["dataset"], row["shots"], each["method"], each["source"], each["accuracy"]]
        for row, each in found
        if each["source"] not in WHOLE_GRID
    ]
    if further:
        parts += ["Further published numbers:", markdown_table(FURTHER, further)]
    sources = record["published"]["sources"]
    used = sorted({each["source"] for _, each in found})
    parts += ["\n".join(f"- [{letter}] {sources[letter]}." for letter in used)]
    write_text(workdir / "table.md", "\n\n".join(filter(None, parts)) + "\n")


def caption(record: Mapping[str, Any]) -> str:
    """What the table's numbers are."""
    said = "Top-1 test accuracy, mean over the seeds with its 95 % interval (Student's t)."
    if any(row["published"] for row in record["rows"]):
        ours = record["clip"]["path"] if "clip" in record else "several CLIPs"
        theirs = f"published, {record['published']['backbone']}"
        said += f" Columns with a letter: {theirs} (letters name the sources, docs/sweeps.md);"
        said += f" ours: {ours}."
    return said


def _averages(entries: Sequence[Entry], runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each number of shots with which every dataset has finished with every seed.

    The accuracy is averaged over the datasets within each seed, and then over the seeds.
    """
    datasets, all_shots, seeds = (
        list(dict.fromkeys(column)) for column in zip(*(e.cell for e in entries), strict=True)
    )
    rows = []
    for shots in all_shots:
        tests = [run["test"] for run in runs if run["shots"] == shots]
        if len(datasets) == 1 or len(tests) < len(datasets) * len(seeds):
            continue
        row = {"dataset": f"{AVERAGE} of {len(datasets)}", "shots": shots, "seeds": seeds}
        for method in METHODS:
            accuracies = np.reshape(
                [test[method]["accuracy"] for test in tests], (len(datasets), len(seeds))
            )
            row[method] = {"accuracy": mean_interval(accuracies.mean(axis=0))._asdict()}
        whole = set(datasets) == set(PAPER)
        rows.append(row | {"published": published(AVERAGE, shots) if whole else []})
    return rows
