"""Few-shot classification: accuracy over the labelled images per class (CoOp, figure 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from ml_collections import ConfigDict

from dpl_jax.files.json import write_json
from dpl_jax.studies.checks import check_numbers
from dpl_jax.studies.demo import demo
from dpl_jax.studies.protocols.record import describe_runs, every_metric
from dpl_jax.summary.intervals import percent
from dpl_jax.summary.plots import (
    BLUE,
    draw_level,
    draw_series,
    finish_axes,
    new_figure,
    plot_style,
    save_plot,
)
from dpl_jax.summary.table import Cell

COLUMNS = (
    "shots",
    "zero-shot %",
    "DPL %",
    "std",
    "95 % interval",
    "macro-F1 %",
    "calibration error %",
)


def fewshot(
    config: ConfigDict, shots: Sequence[int], seeds: Sequence[int], workdir: str | Path
) -> dict[str, Any]:
    """Searches, trains and evaluates for every number of shots and every seed.

    Args:
      config: see :mod:`dpl_jax.config`; its shots and seed are replaced.
      shots: labelled training images per class.
      seeds: one run of each stage for every number of shots and seed.
      workdir: gets the folders ``shotsK``, fewshot.json, fewshot.png and fewshot.svg; what it has
        already is reused.

    Returns:
      The contents of fewshot.json.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    check_numbers("--shots", shots, least=1)
    workdir, config = Path(workdir), config.copy_and_resolve_references()
    searches: list[Path] = []
    trainings: list[Path] = []
    results: list[dict[str, Any]] = []
    for count in sorted(shots):
        config.data.shots = count
        found = demo(config, seeds, workdir / f"shots{count}")
        searches += found.searches
        trainings += found.trainings
        results += [{"shots": count, "test": result} for result in found.results]
    common, runs = describe_runs(workdir, searches, trainings)
    runs = [run | result for run, result in zip(runs, results, strict=True)]
    summary = [
        {"shots": count, **every_metric([run["test"] for run in runs if run["shots"] == count])}
        for count in sorted(shots)
    ]
    record = {"protocol": "fewshot", "summary": summary, "runs": runs} | common
    write_json(workdir / "fewshot.json", record)
    save_plot(draw(record), workdir / "fewshot")
    return record


def table(record: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows: one row a number of shots, over the seeds.

    Standard deviation and 95 % interval are those of DPL's accuracy, macro-F1 and calibration
    error its means.
    """
    rows: list[list[Cell]] = []
    for found in record["summary"]:
        dpl = {metric: percent(values) for metric, values in found["dpl"].items()}
        rows.append(
            [
                str(found["shots"]),
                percent(found["zero_shot"]["accuracy"]).mean,
                *dpl["accuracy"].cells(),
                dpl["macro_f1"].mean,
                dpl["calibration_error"].mean,
            ]
        )
    return list(COLUMNS), rows


@plot_style()
def draw(record: Mapping[str, Any]) -> Figure:
    """Test accuracy over shots with its 95 % intervals, and zero-shot's as a level."""
    shots = [found["shots"] for found in record["summary"]]
    values = [
        [100 * run["test"]["dpl"]["accuracy"] for run in record["runs"] if run["shots"] == count]
        for count in shots
    ]
    figure = new_figure(3.8)
    axes = figure.subplots()
    zero_shot = percent(record["summary"][0]["zero_shot"]["accuracy"])
    draw_level(axes, zero_shot.mean, "zero-shot")
    draw_series(axes, shots, values, "DPL", BLUE)
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled images per class")
    axes.set_ylabel("test accuracy (%)")
    finish_axes(axes)
    figure.suptitle(record["dataset"], fontsize=11)
    return figure
