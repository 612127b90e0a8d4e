"""Transfer: trained on one dataset, evaluated on others, without seeing an image of them.

Cross-dataset transfer and domain generalisation of CoOp (arXiv 2109.01134) and CoCoOp (arXiv
2203.05557) differ in the targets alone: datasets with other classes, or ImageNet's variants.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.data.load import load_dataset
from dpl_jax.data.split import subsample_classes
from dpl_jax.errors import ConfigError, DataError
from dpl_jax.files.json import write_json
from dpl_jax.runs.config_files import load_config
from dpl_jax.runs.results import task_name
from dpl_jax.studies.demo import demo
from dpl_jax.studies.finished_stages import evaluate_once
from dpl_jax.studies.protocols.record import Evaluation, describe_runs, interval
from dpl_jax.summary.intervals import MeanInterval, percent
from dpl_jax.summary.names import METHODS
from dpl_jax.summary.table import Cell


def transfer(
    config: ConfigDict,
    targets: Mapping[str, ConfigDict],
    seeds: Sequence[int],
    workdir: str | Path,
) -> dict[str, Any]:
    """Searches and trains on the source, evaluates on it and on every target, for every seed.

    Args:
      config: of the source, see :mod:`dpl_jax.config`; its seed is replaced.
      targets: configs by name, of which only ``data`` is used; see :func:`read_targets`.
      seeds: one run of each stage for every seed.
      workdir: gets the runs and transfer.json; what it has already is reused.

    Returns:
      The contents of transfer.json.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    for target in targets.values():  # whatever is wrong with one is told before the training
        check_has_test(target.data)
    workdir = Path(workdir)
    found = demo(config, seeds, workdir)
    common, runs = describe_runs(workdir, found.searches, found.trainings)
    for run, trained, source in zip(runs, found.trainings, found.results, strict=True):
        results = {name: evaluate_once(trained, target) for name, target in targets.items()}
        run |= {"source": source, "targets": results, "average": _averages(results.values())}
    data = {name: target.data.to_dict() for name, target in targets.items()}
    record = {
        "protocol": "transfer",
        "source": task_name(config.data),
        "targets": data,
        "summary": {method: _summary(runs, method, list(targets)) for method in METHODS},
        "runs": runs,
    } | common
    write_json(workdir / "transfer.json", record)
    return record


def read_targets(files: Sequence[str], source: ConfigDict) -> dict[str, ConfigDict]:
    """Loads config files, ``configs/NAME.py`` or ``configs/NAME.py:classes=new``, by dataset.

    A target that names no data.root takes the source's.

    Raises:
      ConfigError: no files, one that cannot be loaded, or two of the same dataset and classes.
    """
    targets: dict[str, ConfigDict] = {}
    for file in files:
        target = load_config(file)
        if "data" not in target:
            raise ConfigError(f"--targets names {file}, which is no config of a dataset.")
        if source.data.name != "folder":  # whose root is its images, not where datasets lie
            target.data.root = target.data.root or source.data.root
        target.data.shots = 0  # no few-shot sample is drawn where only test images count
        name = task_name(target.data)
        if name in targets:
            raise ConfigError(f"--targets names {name} twice.")
        targets[name] = target
    if not targets:
        raise ConfigError("--targets names no config; write --targets=configs/a.py,configs/b.py")
    return targets


def check_has_test(data: ConfigDict) -> None:
    """Lists a dataset without opening an image.

    Raises:
      DataError: when it cannot be listed, or has no test images of the classes that are asked for.
    """
    dataset = subsample_classes(load_dataset(data), data.classes)
    if not dataset.test:
        raise DataError(f"{dataset.name} has no test images, so it is no target.")


def table(record: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows: accuracy on the source and every target, and the average of the targets.

    With several seeds the means, and under each the standard deviations and the half-widths of the
    95 % intervals.
    """
    columns = ["method", f"{record['source']} (source) %", *(f"{t} %" for t in record["targets"])]
    rows: list[list[Cell]] = []
    for method, name in METHODS.items():
        found = record["summary"][method]
        cells = [found["source"], *found["targets"].values(), found["average"]]
        numbers: list[MeanInterval] = [percent(cell) for cell in cells]
        rows.append([name, *(number.mean for number in numbers)])
        if len(record["runs"]) > 1:
            rows.append(["  std", *(number.std for number in numbers)])
            rows.append(["  95 % interval ±", *(number.half_width for number in numbers)])
    return [*columns, "average %"], rows


def _averages(results: Collection[Evaluation]) -> dict[str, float]:
    """Mean accuracy of one run over the targets, by method."""
    return {
        method: sum(each[method]["accuracy"] for each in results) / len(results)
        for method in METHODS
    }


def _summary(
    runs: Sequence[Mapping[str, Any]], method: str, targets: Sequence[str]
) -> dict[str, Any]:
    """Accuracies of one method over the seeds, 0 to 1."""
    return {
        "source": interval(runs, "source", method, "accuracy"),
        "targets": {name: interval(runs, "targets", name, method, "accuracy") for name in targets},
        "average": interval(runs, "average", method),
    }
