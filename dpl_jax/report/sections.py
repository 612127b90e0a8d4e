"""The sections of the page: what each says, and the figures and tables in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dpl_jax.prompts import TOWERS
from dpl_jax.report import alpha_plots, class_plots, run_plots
from dpl_jax.report.contents import Contents
from dpl_jax.report.figures import save_figure
from dpl_jax.report.images import WrongImage, most_wrong
from dpl_jax.scores import confusion_matrix, score
from dpl_jax.table import Cell

METHODS = {"zero_shot": "zero-shot CLIP", "dpl": "DPL"}
MOST_WRONG = 24
MOST_PAIRS = 15


class Picture(NamedTuple):
    """A figure in the page: an SVG element, and the words below it."""

    svg: str
    caption: str


class Table(NamedTuple):
    """A table; ``summary`` folds it away behind these words."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    summary: str = ""


class Section(NamedTuple):
    """A part of the page."""

    anchor: str
    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    images: Sequence[WrongImage] = ()


Draw = Callable[[Figure, str, str, str], Picture]


def sections(contents: Contents) -> list[Section]:
    """All sections that the run has something for; their figures are written to ``RUN/plots``."""

    def draw(figure: Figure, name: str, label: str, caption: str) -> Picture:
        return Picture(save_figure(figure, contents.path / "plots" / name, label), caption)

    return [
        *_results(contents),
        *_alphas(contents, draw),
        *_evolution(contents, draw),
        *_lengths(contents, draw),
        *_curves(contents, draw),
        *(part for name in contents.predictions for part in _evaluation(contents, name, draw)),
    ]


def _results(contents: Contents) -> list[Section]:
    rows: list[list[Cell]] = []
    for name, evaluation in contents.evaluations.items():
        for method, scores in evaluation.items():
            if isinstance(scores, dict) and "accuracy" in scores:
                rows.append(_result_row(name, method, evaluation["images"], scores))
    if not rows:
        return []
    columns = ["images of", "method", "images", "accuracy %", "± std. error"]
    columns += ["macro-F1 %", "calibration error %"]
    text = (
        "The standard error is that of a share of so many images. The calibration error compares "
        "confidence with accuracy in 15 bins: 0 is best."
    )
    return [Section("results", "Results", text, tables=[Table(columns, rows)])]


def _result_row(name: str, method: str, images: int, scores: dict[str, Any]) -> list[Cell]:
    accuracy = scores["accuracy"]
    error = math.sqrt(accuracy * (1 - accuracy) / images)
    shares = (accuracy, error, scores.get("macro_f1"), scores.get("calibration_error"))
    percents = [None if share is None else 100 * share for share in shares]
    return [name, method_name(method), images, *percents]


def _alphas(contents: Contents, draw: Draw) -> list[Section]:
    weights, lengths = _of_towers(contents.weights), contents.lengths
    if not weights or not lengths:
        return []
    strongest = max(float(values.max()) for values in weights.values())
    pictures = [
        draw(
            alpha_plots.heat_map(weights[tower], lengths[tower], strongest),
            f"alphas-{tower}",
            f"Alpha's weights of the {tower} tower, a row a layer",
            f"{tower.capitalize()} tower",
        )
        for tower in weights
    ]
    text = (
        "Softmax weights of alpha in percent: how much of each prompt length a layer uses. "
        "The chosen length is framed."
    )
    return [Section("alphas", "What the search decided", text, pictures)]


def _evolution(contents: Contents, draw: Draw) -> list[Section]:
    rows = [row for row in contents.metrics if row.get("weights")]
    if len(rows) < 2:
        return []
    epochs = [row["epoch"] for row in rows]
    history = {
        tower: np.asarray([row["weights"][tower] for row in rows], float)  # (epochs, N, T + 1)
        for tower in TOWERS
    }
    pictures = [
        draw(
            alpha_plots.evolution(history[tower], epochs),
            f"evolution-{tower}",
            f"Alpha's weights of the {tower} tower over the epochs, a panel a layer",
            f"{tower.capitalize()} tower",
        )
        for tower in TOWERS
    ]
    for name, figure, caption in (
        ("confidence", alpha_plots.confidence(history, epochs), "Confidence"),
        ("entropy", alpha_plots.entropy(history, epochs), "Entropy"),
    ):
        pictures.append(draw(figure, name, f"{caption} of alpha over the epochs", caption))
    text = (
        "How alpha's weights came about: the wider a band, the more weight that length has. "
        "Below, lines are means over the layers, with their range."
    )
    return [Section("evolution", "How the search went", text, pictures)]


def _lengths(contents: Contents, draw: Draw) -> list[Section]:
    lengths = contents.lengths
    if not lengths:
        return []
    longest = max(max(values, default=0) for values in lengths.values())
    pictures = [
        draw(
            run_plots.length_bars(values, longest, alpha_plots.TOWER_COLOURS[tower][0]),
            f"lengths-{tower}",
            f"Prompt tokens of every layer of the {tower} tower",
            f"{tower.capitalize()} tower: {sum(values)} prompt tokens in {len(values)} layers",
        )
        for tower, values in lengths.items()
    ]
    text = "Prompt tokens that each layer gets, as extra keys and values of its self-attention."
    return [Section("lengths", "Prompt lengths", text, pictures)]


def _curves(contents: Contents, draw: Draw) -> list[Section]:
    rows = contents.metrics
    if not rows:
        return []
    pictures = [
        draw(run_plots.curves(rows, "loss", "loss"), "losses", "Losses over the epochs", ""),
        draw(
            run_plots.curves(rows, "accuracy", "accuracy (%)", scale=100),
            "accuracies",
            "Accuracies over the epochs",
            "",
        ),
    ]
    text = "Means over the steps of each epoch, measured on the few-shot images while learning."
    return [Section("curves", "Loss and accuracy", text, pictures)]


def _evaluation(contents: Contents, name: str, draw: Draw) -> list[Section]:
    """Classes, confusions and worst images of the last method that an evaluation has."""
    predictions = contents.predictions[name]
    if not predictions.logits or not len(predictions.labels):
        return []
    method = "dpl" if "dpl" in predictions.logits else list(predictions.logits)[-1]
    confusion = confusion_matrix(predictions.logits[method], predictions.labels)
    return [
        _classes(contents, name, method, draw),
        *_confusion(contents, name, confusion, draw),
        *_wrong(contents, name, method),
    ]


def _classes(contents: Contents, name: str, method: str, draw: Draw) -> Section:
    predictions, images = contents.predictions[name], contents.predictions[name].labels
    accuracy = {
        key: np.asarray(score(logits, predictions.labels)["per_class"], float)  # (C,)
        for key, logits in predictions.logits.items()
    }
    classnames, zero_shot = predictions.classnames, accuracy.get("zero_shot")
    figure = class_plots.class_dots(accuracy[method], zero_shot, classnames)
    few = len(classnames) <= class_plots.MOST_CLASSES
    which = "All classes" if few else f"The {class_plots.MOST_CLASSES} hardest classes"
    counts = np.bincount(images, minlength=len(classnames))
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


def _confusion(contents: Contents, name: str, confusion: np.ndarray, draw: Draw) -> list[Section]:
    classnames = contents.predictions[name].classnames
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


def _wrong(contents: Contents, name: str, method: str) -> list[Section]:
    images = most_wrong(contents.predictions[name], method, MOST_WRONG)
    if not images:
        return []
    text = "Misclassified images whose true class got the least probability, worst first."
    return [Section(f"wrong-{name}", f"Most wrong images ({name})", text, images=images)]


def method_name(method: str) -> str:
    """How a method is called in the page."""
    return METHODS.get(method, method.replace("_", " "))


def _of_towers(weights: dict[str, list[list[float]]]) -> dict[str, np.ndarray]:
    """(N, T + 1) of each tower."""
    return {tower: np.asarray(weights[tower], float) for tower in TOWERS if tower in weights}


def _percent(share: float) -> float | None:
    return 100 * float(share) if math.isfinite(share) else None
