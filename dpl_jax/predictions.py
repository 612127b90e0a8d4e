"""What an evaluation predicted, image by image: ``RUN/predictions/NAME.npz``."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.commands import command
from dpl_jax.errors import RunFolderError
from dpl_jax.json_files import explained_writes, parse_json, to_json, write_file

LOGITS = "logits_"  # before the method's name


class Predictions(NamedTuple):
    """Class logits of several methods on the same images.

    Attributes:
      dataset: its name.
      split: "train", "val" or "test".
      data: the ``data`` fields of the config that the images were read with.
      classnames: the C class names, by label.
      names: (n,) what identifies each image, see :class:`dpl_jax.data.split.Item`.
      labels: (n,) 0..C-1.
      logits: (n, C) float32 of each method, such as "zero_shot" and "dpl".
    """

    dataset: str
    split: str
    data: Mapping[str, Any]
    classnames: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    logits: Mapping[str, np.ndarray]


def save_predictions(path: str | os.PathLike[str], predictions: Predictions) -> None:
    """Writes predictions atomically, as arrays of numbers and of text."""
    about = {name: getattr(predictions, name) for name in ("dataset", "split", "data")}
    arrays = {
        "about": np.asarray(json.dumps(to_json(about))),
        "classnames": np.asarray(predictions.classnames, np.str_),
        "names": np.asarray(predictions.names, np.str_),
        "labels": np.asarray(predictions.labels, np.int32),
    }
    for method, logits in predictions.logits.items():
        arrays[LOGITS + method] = np.asarray(logits, np.float32)
    with explained_writes(path):
        Path(path).parent.mkdir(exist_ok=True)
    with write_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Reads what :func:`save_predictions` wrote.

    Raises:
      RunFolderError: when there is no such file, or it is damaged.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        predictions = _from_arrays(arrays)
        _check(predictions)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} holds no predictions that can be read ({error}). Evaluate the run again: "
            f"{command('evaluate')} --run=RUN"
        ) from error
    return predictions


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> Predictions:
    about = parse_json(str(arrays["about"]))
    return Predictions(
        dataset=about["dataset"],
        split=about["split"],
        data=about["data"],
        classnames=tuple(arrays["classnames"].tolist()),
        names=tuple(arrays["names"].tolist()),
        labels=arrays["labels"],
        logits={
            name.removeprefix(LOGITS): values
            for name, values in arrays.items()
            if name.startswith(LOGITS)
        },
    )


def _check(predictions: Predictions) -> None:
    """Raises ValueError unless the arrays fit each other."""
    images, classes = len(predictions.names), len(predictions.classnames)
    labels = predictions.labels
    if labels.shape != (images,) or not ((labels >= 0) & (labels < classes)).all():
        raise ValueError(f"the labels do not fit {images} images of {classes} classes")
    for method, logits in predictions.logits.items():
        if logits.shape != (images, classes):
            raise ValueError(f"the logits of {method} are {logits.shape}, not {images, classes}")
