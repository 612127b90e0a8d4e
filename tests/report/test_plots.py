"""Figures show the numbers that they are given, and errors are counted as a slow loop does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dpl_jax.report.alpha_plots import confidence, evolution, heat_map, relative_entropy
from dpl_jax.report.class_plots import class_dots, confused_pairs, matrix
from dpl_jax.report.figures import inline_svg, save_figure, short_name
from dpl_jax.report.run_plots import curves, length_bars
from dpl_jax.summary.plots import BLUE, ORANGE, new_figure, plot_style


def cell_texts(figure: Figure) -> dict[tuple[int, int], str]:
    """The numbers written into cells, by row and column."""
    (axes,) = figure.axes
    return {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}


def rectangles(figure: Figure) -> dict[tuple[int, int], Rectangle]:
    """Filled cells by row and column of their middle."""
    patches = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[3] > 0]
    assert all(isinstance(patch, Rectangle) for patch in patches)
    return {
        (round(p.get_y() + p.get_height() / 2), round(p.get_x() + p.get_width() / 2)): p
        for p in patches
    }


def test_the_heat_map_shows_every_weight_and_frames_the_chosen_lengths() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(5), size=3)  # (N, T + 1)
    lengths = [4, 0, 2]
    figure = heat_map(weights, lengths, float(weights.max()))
    assert cell_texts(figure) == {
        (layer, length): f"{100 * weights[layer, length]:.0f}"
        for layer in range(3)
        for length in range(5)
    }
    opacity = {place: cell.get_facecolor()[3] for place, cell in rectangles(figure).items()}
    order = sorted(opacity, key=lambda place: opacity[place])
    assert order == sorted(opacity, key=lambda place: weights[place])
    frames = [p for p in figure.axes[0].patches if to_hex(p.get_edgecolor()) == ORANGE]
    framed = {round(f.get_y() + 0.43): round(f.get_x() + 0.46) for f in frames}
    assert framed == dict(enumerate(lengths))


def test_the_evolution_has_a_panel_a_layer_and_bands_that_fill_it() -> None:
    history = np.random.default_rng(1).dirichlet(np.ones(3), size=(200, 5))  # (E, N, T + 1)
    figure = evolution(history, list(range(1, 201)))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 5
    for layer, axes in enumerate(panels):
        last = [band.get_paths()[0].vertices for band in axes.collections]
        tops = [points[points[:, 0] == 200][:, 1].max() for points in last]
        np.testing.assert_allclose(tops, np.cumsum(history[-1, layer]), atol=1e-9)


def test_confidence_is_the_mean_of_the_largest_weights() -> None:
    history = {
        tower: np.random.default_rng(seed).dirichlet(np.ones(4), size=(6, layers))
        for seed, (tower, layers) in enumerate({"image": 3, "text": 2}.items())
    }
    figure = confidence(history, range(1, 7))
    image, text, even = figure.axes[0].lines
    for line, tower in ((image, "image"), (text, "text")):
        slow = [sum(max(layer) for layer in epoch) / len(epoch) for epoch in history[tower]]
        np.testing.assert_allclose(line.get_ydata(), slow)
    assert set(np.asarray(even.get_ydata())) == {0.25}


def test_relative_entropy_against_a_slow_sum_and_its_ends() -> None:
    weights = np.random.default_rng(2).dirichlet(np.ones(7), size=(4, 3))
    for place in np.ndindex(4, 3):
        slow = -sum(w * math.log(w) for w in weights[place]) / math.log(7)
        assert relative_entropy(weights)[place] == pytest.approx(slow)
    assert relative_entropy(np.full((2, 5), 0.2)) == pytest.approx([1, 1])
    assert relative_entropy(np.array([0.0, 1.0, 0.0])) == 0


def test_curves_leave_out_what_is_missing() -> None:
    rows = [
        {"epoch": 1, "train_loss": 2.0, "val_loss": None},
        {"epoch": 2, "train_loss": 1.0, "val_loss": 3.0},
    ]
    train, val = curves(rows, "loss", "loss", scale=10).axes[0].lines
    assert train.get_xydata().tolist() == [[1, 20], [2, 10]]
    assert val.get_xydata().tolist() == [[2, 30]]
    assert len(curves([{"epoch": 1, "train_loss": 1.0}], "loss", "loss").axes[0].lines) == 1


def test_bars_have_the_lengths() -> None:
    axes = length_bars([2, 0, 5], 6, BLUE).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2, 0, 5]
    assert [text.get_text() for text in axes.texts] == ["2", "0", "5"]
    assert axes.get_ylim()[1] > 6


def test_classes_are_sorted_and_classes_without_images_left_out() -> None:
    accuracy = np.array([0.5, np.nan, 0.25, 1.0])
    zero_shot = np.array([0.75, np.nan, 0.25, 0.5])
    figure = class_dots(accuracy, zero_shot, ["a", "b", "c", "d"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "a", "d"]
    dots = {line.get_label(): line for line in axes.lines if line.get_marker() == "o"}
    assert dots["DPL"].get_xdata().tolist() == [25, 50, 100]
    assert dots["zero-shot CLIP"].get_xdata().tolist() == [25, 75, 50]
    gains = [line for line in axes.lines if line.get_marker() != "o"]
    assert [to_hex(line.get_color()) for line in gains] == [BLUE, ORANGE, BLUE]


def test_the_matrix_shows_every_count() -> None:
    confusion = np.array([[5, 0, 1], [0, 0, 0], [2, 0, 7]])
    figure = matrix(confusion, ["a", "b", "c"])
    assert cell_texts(figure) == {(0, 0): "5", (0, 2): "1", (2, 0): "2", (2, 2): "7"}
    colours = {place: to_hex(cell.get_facecolor()) for place, cell in rectangles(figure).items()}
    assert colours == {(0, 0): BLUE, (2, 2): BLUE, (0, 2): ORANGE, (2, 0): ORANGE}


def test_confused_pairs_against_a_slow_loop() -> None:
    confusion = np.random.default_rng(3).integers(0, 4, (6, 6))
    slow = [
        (true, predicted, int(confusion[true, predicted]))
        for true in range(6)
        for predicted in range(6)
        if true != predicted and confusion[true, predicted] > 0
    ]
    slow.sort(key=lambda pair: -pair[2])
    assert confused_pairs(confusion, 100) == slow
    assert confused_pairs(confusion, 4) == slow[:4]
    assert confused_pairs(np.diag([3, 4]), 5) == []


def test_names_in_figures_are_neither_formulas_nor_control_characters(tmp_path: Path) -> None:
    with plot_style():
        figure = new_figure(2.0)
        axes = figure.subplots()
        names = [
            "$x$ $",
            "a_b^c \\frac{1}",
            "<b>&amp;",
            short_name("x\x00y\nz"),
            short_name("猫" * 99),
        ]
        axes.set_yticks(range(5), names)
        svg = save_figure(figure, tmp_path / "plots" / "a", '"label" <b>')
    for shown in ("$x$ $", "a_b^c \\frac{1}", "&lt;b&gt;&amp;amp;", "x�y�z", "猫" * 25 + "…"):
        assert f">{shown}</text>" in svg
    assert 'aria-label="&quot;label&quot; &lt;b&gt;"' in svg
    with PIL.Image.open(tmp_path / "plots" / "a.png") as image:
        assert image.size == (1000, 400)


def test_an_inline_svg_takes_size_and_colours_from_the_page(tmp_path: Path) -> None:
    with plot_style():
        figure = new_figure(2.0)
        figure.subplots().plot([1, 2], color=BLUE)
        svg = save_figure(figure, tmp_path / "a", "label")
    assert svg.startswith("<svg ") and svg.rstrip().endswith("</svg>")
    head = svg[: svg.index(">")]
    assert "viewBox" in head and " width=" not in head and " height=" not in head
    assert "stroke: var(--blue)" in svg and BLUE not in svg
    assert f"stroke: {BLUE}" in (tmp_path / "a.svg").read_text()
    assert inline_svg(f'<?xml?><svg width="9pt"><g style="fill: {BLUE}"/></svg>', "x").count(
        "var(--blue)"
    )
