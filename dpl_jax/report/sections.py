"""The sections of the page: what each says, and the figures and tables in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dpl_jax.prompts.trees import TOWERS
from dpl_jax.report import alpha_plots, run_plots
from dpl_jax.report.contents import Contents
from dpl_jax.report.evaluation_sections import evaluation_sections
from dpl_jax.report.figures import save_figure
from dpl_jax.report.parts import Draw, Picture, Section, Table
from dpl_jax.summary.names import method_name
from dpl_jax.summary.table import Cell

MOST_EVALUATIONS = 3  # shown in full; all are in the table


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
        *_evaluations(contents, draw),
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
    # Where no weight is large, the search is undecided, and the map shall look it.
    strongest = max(0.5, *(float(values.max()) for values in weights.values()))
    pictures = [
        draw(
            alpha_plots.heat_map(weights[tower], lengths[tower], strongest),
            f"alphas-{tower}",
            f"Alpha's weights of the {tower} tower, a row per layer",
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
    epochs, history = contents.weight_history
    if len(epochs) < 2:
        return []
    pictures = [
        draw(
            alpha_plots.evolution(history[tower], epochs),
            f"evolution-{tower}",
            f"Alpha's weights of the {tower} tower over the epochs, a panel per layer",
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


def _evaluations(contents: Contents, draw: Draw) -> list[Section]:
    """The test images first, then other evaluations in the order of their names."""
    names = sorted(contents.predictions, key=lambda name: (name != "test", name))
    return [
        section
        for name in names[:MOST_EVALUATIONS]
        for section in evaluation_sections(name, contents.predictions[name], draw)
    ]


def _of_towers(weights: dict[str, list[list[float]]]) -> dict[str, np.ndarray]:
    """(N, T + 1) of each tower."""
    return {tower: np.asarray(weights[tower], float) for tower in TOWERS if tower in weights}
