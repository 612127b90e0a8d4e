"""The sections of one evaluation: its classes, what is confused, the most wrong images."""

from __future__ import annotations

import math

import numpy as np

from dpl_jax.report import class_plots
from dpl_jax.report.images import most_wrong
from dpl_jax.report.parts import Draw, Section, Table
from dpl_jax.runs.predictions import Predictions
from dpl_jax.summary.names import method_name
from dpl_jax.summary.scores import confusion_matrix
from dpl_jax.summary.table import Cell

MOST_WRONG = 24
MOST_PAIRS = 15


def evaluation_sections(name: str, predictions: Predictions, draw: Draw) -> list[Section]:
    """All that can be said of an evaluation's predictions by DPL, or else by its last method."""
    if not predictions.logits or not len(predictions.labels):
        return []
    method = "dpl" if "dpl" in predictions.logits else list(predictions.logits)[-1]
    confusions = {
        key: confusion_matrix(logits, predictions.labels)  # (C, C)
        for key, logits in predictions.logits.items()
    }
    return [
        _classes(name, predictions, method, confusions, draw),
        *_confusion(name, predictions, confusions[method], draw),
        *_wrong(name, predictions, method),
    ]


def class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Accuracy (C,) of every class, 0 to 1, from a confusion matrix (C, C); NaN without images."""
    images = confusion.sum(axis=1)  # (C,)
    return np.where(images > 0, np.diag(confusion) / np.maximum(images, 1), np.nan)


def _classes(
    name: str,
    predictions: Predictions,
    method: str,
    confusions: dict[str, np.ndarray],
    draw: Draw,
) -> Section:
    accuracy = {key: class_accuracy(confusion) for key, confusion in confusions.items()}
    classnames, zero_shot = predictions.classnames, accuracy.get("zero_shot")
    figure = class_plots.class_dots(accuracy[method], zero_shot, classnames)
    few = len(classnames) <= class_plots.MOST_CLASSES
    which = "All classes" if few else f"The {class_plots.MOST_CLASSES} hardest classes"
    counts = confusions[method].sum(axis=1)  # (C,)
    rows: list[list[Cell]] = [
        [
            classname,
            int(counts[label]),
            *(_percent(accuracy[key][label]) for key in accuracy),
        ]
        for label, classname in enumerate(classnames)
    ]
    columns = ["class", "images", *(f"{method_name(key)} %" for key in accuracy)]
    summary = "" if few else f"All {len(classnames)} classes as a table"
    return Section(
        f"classes-{name}",
        f"Accuracy of every class ({name})",
        f"{which}, hardest first. A line ends at the filled dot: blue up, orange down.",
        [draw(figure, f"per-class-{name}", f"Accuracy of the classes of {name}", "")],
        [Table(columns, rows, summary)],
    )


def _confusion(
    name: str, predictions: Predictions, confusion: np.ndarray, draw: Draw
) -> list[Section]:
    classnames = predictions.classnames
    pairs = class_plots.confused_pairs(confusion, MOST_PAIRS)
    pictures = []
    if len(classnames) < class_plots.MATRIX_CLASSES:
        figure = class_plots.matrix(confusion, classnames)
        label = f"Confusion matrix of {name}"
        pictures.append(draw(figure, f"confusion-{name}", label, "Blue is right, orange is wrong"))
    rows: list[list[Cell]] = [
        [classnames[true], classnames[predicted], count, _percent(count / confusion[true].sum())]
        for true, predicted, count in pairs
    ]
    columns = ["true class", "predicted class", "images", "of the class %"]
    tables = [Table(columns, rows)] if rows else []
    if not pictures and not tables:
        return []
    text = "The errors that were made most often." if rows else "No image was misclassified."
    return [
        Section(f"confusion-{name}", f"What is taken for what ({name})", text, pictures, tables)
    ]


def _wrong(name: str, predictions: Predictions, method: str) -> list[Section]:
    images = most_wrong(predictions, method, MOST_WRONG)
    if not images:
        return []
    text = "Misclassified images whose true class got the least probability, worst first."
    return [Section(f"wrong-{name}", f"Most wrong images ({name})", text, images=images)]


def _percent(share: float) -> float | None:
    return 100 * float(share) if math.isfinite(share) else None
