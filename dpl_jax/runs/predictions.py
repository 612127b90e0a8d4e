"""What an evaluation predicted, image by image: ``RUN/predictions/NAME.npz``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.data.split import SPLITS
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.errors import RunFolderError
from dpl_jax.files import limits
from dpl_jax.files.json import explained_writes, parse_json, to_json, write_file
from dpl_jax.files.numpy import read_npz
from dpl_jax.runtime.launchers import command

LOGITS = "logits_"  # before the method's name
# Kinds of NumPy's types, and dimensions.
FIELDS = {"about": ("U", 0), "classnames": ("U", 1), "names": ("U", 1), "labels": ("i", 1)}


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
        predictions = _from_arrays(read_npz(Path(path)))
        _check(predictions)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path} holds no predictions that can be read ({error}). Evaluate the run again: "
            f"{command('evaluate')} --run=RUN"
        ) from error
    return predictions


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> Predictions:
    """Raises ValueError unless the arrays have the names, types and dimensions of predictions."""
    for name, (kinds, dimensions) in FIELDS.items():
        _check_array(name, arrays.get(name), kinds, dimensions)
    for name in arrays.keys() - FIELDS.keys():
        _check_array(name, arrays[name], "f", 2)
    about = parse_json(str(arrays["about"]))
    if not isinstance(about, dict) or not isinstance(about.get("data"), dict):
        raise ValueError("it does not tell the dataset")
    if not isinstance(about.get("dataset"), str) or about.get("split") not in SPLITS:
        raise ValueError("it does not tell the dataset and the split")
    if (name := str(about["data"].get("name"))) not in TEMPLATES:
        raise ValueError(f"data.name is {name!r:.100}, which is not a known dataset")
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


def _check_array(name: str, array: np.ndarray | None, kinds: str, dimensions: int) -> None:
    if array is None or array.dtype.kind not in kinds or array.ndim != dimensions:
        found = "missing" if array is None else f"{array.dtype}, {array.ndim} dimensions"
        raise ValueError(f"the array {name!r:.50} is not what it should be: {found}")


def _check(predictions: Predictions) -> None:
    """Raises ValueError unless the arrays fit each other."""
    images, classes = len(predictions.names), len(predictions.classnames)
    if images > limits.IMAGES or classes > limits.CLASSES:
        raise ValueError(f"{images} images of {classes} classes are more than can be shown")
    labels = predictions.labels
    if labels.shape != (images,) or not ((labels >= 0) & (labels < classes)).all():
        raise ValueError(f"the labels do not fit {images} images of {classes} classes")
    for method, logits in predictions.logits.items():
        if logits.shape != (images, classes):
            raise ValueError(f"the logits of {method} are {logits.shape}, not {images, classes}")
        if not np.isfinite(logits).all():
            raise ValueError(f"the logits of {method} are not finite")
