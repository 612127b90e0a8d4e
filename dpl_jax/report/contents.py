"""What a run folder holds, as far as the run has come: all that a report is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import read_json
from dpl_jax.prompts.trees import TOWERS
from dpl_jax.runs.folder import read_whole_config
from dpl_jax.runs.metrics import read_metrics
from dpl_jax.runs.predictions import Predictions, load_predictions

KINDS = {"search": "Search for prompt lengths", "train": "Training of prompts"}


class Contents(NamedTuple):
    """A run on disk; what is not there yet is empty.

    Attributes:
      path: the run's folder.
      kind: of ``KINDS``.
      config: every setting.
      versions: of Python and the packages that it was started with.
      results: results.json.
      configuration: configuration.json, the lengths.
      metrics: the rows of metrics.jsonl, one an epoch.
      classnames: of the few-shot task.
      predictions: by the name of the evaluation.
    """

    path: Path
    kind: str
    config: ConfigDict
    versions: dict[str, str]
    results: dict[str, Any]
    configuration: dict[str, Any]
    metrics: list[dict[str, Any]]
    classnames: list[str]
    predictions: dict[str, Predictions]

    @property
    def lengths(self) -> dict[str, list[int]]:
        """The prompt length of every layer by tower; of a search under way, those of now."""
        return self.configuration.get("lengths") or self._last_row.get("lengths") or {}

    @property
    def weights(self) -> dict[str, list[list[float]]]:
        """Alpha's softmax weights (N, T + 1) by tower; empty for all but a search."""
        return self.configuration.get("weights") or self._last_row.get("weights") or {}

    @property
    def weight_history(self) -> tuple[list[int], dict[str, np.ndarray]]:
        """The epochs that alpha's weights are known of, and the weights (epochs, N, T + 1)."""
        rows = [row for row in self.metrics if row.get("weights")]
        history = {
            tower: np.asarray([row["weights"][tower] for row in rows], float) for tower in TOWERS
        }
        return [row["epoch"] for row in rows], history

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Scores by the name of the evaluation and by method."""
        return self.results.get("evaluations", {})

    @property
    def _last_row(self) -> dict[str, Any]:
        return self.metrics[-1] if self.metrics else {}


def read_contents(run: Path) -> Contents:
    """Reads a run folder.

    Raises:
      RunFolderError: when it is none, one of another kind, or one of its files is damaged; the
        message names it.
    """
    config = read_whole_config(run)
    saved = _read(run / "config.json")
    if saved.get("kind") not in tuple(KINDS):
        raise RunFolderError(
            f"{run} holds a run of kind {saved.get('kind')!r}; a report is of a search or a "
            "training. Other jobs write their own tables and plots."
        )
    try:
        metrics = read_metrics(run)
    except ValueError as error:
        raise RunFolderError(str(error)) from error
    return Contents(
        path=run,
        kind=saved["kind"],
        config=config,
        versions=saved.get("versions", {}),
        results=_read(run / "results.json"),
        configuration=_read(run / "configuration.json"),
        metrics=metrics,
        classnames=_read(run / "sampled.json").get("classnames", []),
        predictions={
            path.stem: load_predictions(path)
            for path in sorted((run / "predictions").glob("*.npz"))
        },
    )


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        contents = read_json(path)
    except ValueError as error:
        raise RunFolderError(str(error)) from error
    if not isinstance(contents, dict):
        raise RunFolderError(f"{path} is no file of a run: it holds no mapping.")
    return contents
