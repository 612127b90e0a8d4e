"""Stages and evaluations that are done already are not done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.config import with_absolute_paths
from dpl_jax.errors import RunFolderError
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import read_json
from dpl_jax.runs.folder import open_run, read_config
from dpl_jax.runs.measured import measured
from dpl_jax.runs.predictions import load_predictions
from dpl_jax.search import search
from dpl_jax.train import train


def search_once(config: ConfigDict, folder: Path) -> Path:
    """:func:`dpl_jax.search.search` in ``folder``, unless it has finished there.

    Raises:
      DplError: as a search, or a folder that holds a run of another config.
    """
    if not _finished(folder, "search", config, harmless="train"):
        search(config, folder)
    return folder


def train_once(config: ConfigDict, searched: Path, folder: Path) -> Path:
    """:func:`dpl_jax.train.train` in ``folder`` of what a search found, unless it has finished.

    Raises:
      DplError: as a training, or a folder that holds a run of another config or other lengths.
    """
    finished = _finished(folder, "train", config, harmless="search")
    if not finished or _lengths(folder) != _lengths(searched):
        train(config, searched / "configuration.json", folder)
    return folder


def evaluate_once(run: Path, other: ConfigDict | None = None) -> dict[str, Any]:
    """The test result of a finished run, as :func:`dpl_jax.evaluate.evaluate` gives it.

    Args:
      run: folder of a search or a training.
      other: a config whose ``data`` is evaluated on instead of the run's own.
    """
    which = measured(run, read_config(run), other=other)
    evaluations = read_json(run / "results.json").get("evaluations", {})
    name = which.name(evaluations)
    if name in evaluations and _is_predicted(run, name):
        return evaluations[name]
    return evaluate(run, other=other)


def _finished(folder: Path, kind: str, config: ConfigDict, harmless: str) -> bool:
    """Whether ``folder`` holds the finished run of this config; ``harmless`` may differ."""
    try:
        read_json(folder / "results.json")
    except (FileNotFoundError, ValueError):  # not there, or damaged: it is written again
        return False
    with open_run(folder, kind, with_absolute_paths(config), harmless=(harmless,)):
        return True


def _lengths(run: Path) -> Any:
    return read_json(run / "configuration.json")["lengths"]


def _is_predicted(run: Path, name: str) -> bool:
    """Whether the predictions of an evaluation are there, whole."""
    try:
        load_predictions(run / "predictions" / f"{name}.npz")
    except RunFolderError:
        return False
    return True
