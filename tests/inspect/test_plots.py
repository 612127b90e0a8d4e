"""The notebooks' figures show the numbers that they are given."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from dpl_jax.inspect.leave_out import LeftOut, Quality
from dpl_jax.inspect.prompt_geometry import Rows
from dpl_jax.inspect.prompt_plots import (
    leave_out_bars,
    maps_over_images,
    mass_maps,
    row_norms,
    similarity_maps,
)
from dpl_jax.inspect.search_plots import difference_maps, lengths_within
from dpl_jax.summary.plots import BLUE, ORANGE


def cells(axes: Axes) -> list[list[str]]:
    """The texts in the cells, row by row."""
    at = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts
    }
    rows, columns = (1 + max(place[axis] for place in at) for axis in (0, 1))
    return [[at[row, column] for column in range(columns)] for row in range(rows)]


def frames(axes: Axes, colour: str) -> list[tuple[int, int]]:
    """(row, column) of the frames of a colour."""
    own = [p for p in axes.patches if p.get_linewidth() and to_hex(p.get_edgecolor()) == colour]
    middles = [(p.get_y() + p.get_height() / 2, p.get_x() + p.get_width() / 2) for p in own]
    return [(round(row), round(column)) for row, column in middles]


def test_differences_are_written_in_points_and_both_choices_framed() -> None:
    one = {"image": np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]), "text": np.array([[0.5, 0.5, 0]])}
    other = {"image": np.array([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]), "text": one["text"]}
    figure = difference_maps(one, other, ["first", "second"])
    image, text = figure.axes
    assert cells(image) == [["+50", "-50", "+0"], ["+0", "+0", "+0"]]
    assert cells(text) == [["+0", "+0", "+0"]]
    assert frames(image, BLUE) == [(0, 0), (1, 2)] and frames(image, ORANGE) == [(0, 1), (1, 2)]


def test_lengths_within_limits_have_a_row_each() -> None:
    lengths = {1: {"image": [0, 1], "text": [1]}, 2: {"image": [2, 1], "text": [0]}}
    image, text = lengths_within(lengths).axes
    assert cells(image) == [["0", "1"], ["2", "1"]] and cells(text) == [["1"], ["0"]]
    assert [label.get_text() for label in image.get_yticklabels()] == ["1", "2"]


def test_every_row_is_a_dot_at_its_norm_and_near_its_layer() -> None:
    image = Rows(np.array([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 2, 2]))
    text = Rows(np.zeros((0, 2)), np.zeros(0, int))
    axes, empty = row_norms({"image": image, "text": text}, {"image": 3, "text": 1}, 0.1).axes
    dots: Any = axes.collections[0].get_offsets()
    np.testing.assert_allclose(dots[:, 1], [5, 1, 1])
    assert dots[:, 0].round().tolist() == [1, 3, 3] and dots[1, 0] < dots[2, 0]
    assert len(empty.collections[0].get_offsets()) == 0
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 0.1 * 2**0.5)


def test_similarities_that_do_not_exist_are_dots() -> None:
    values = np.array([[np.nan, -0.25], [-0.25, 1.0]])
    image, _ = similarity_maps({"image": values, "text": values}).axes
    assert cells(image) == [["·", "-0.25"], ["-0.25", "1.00"]]


def test_masses_are_written_in_percent() -> None:
    (axes,) = mass_maps({"class token": np.array([[0.25, 0.5], [0.0, 0.125]])}).axes
    assert cells(axes) == [["25", "50"], ["0", "12"]] and axes.get_title("left") == "class token"


def test_maps_of_all_images_share_one_scale() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    maps = np.stack([np.full((4, 4), 0.1), np.full((4, 4), 0.3)])
    figure = maps_over_images(images, maps, ["a", "b"])
    drawn = [axes.images[-1] for axes in figure.axes[2:4]]
    assert [image.get_clim() for image in drawn] == [(0.1, 0.3)] * 2
    np.testing.assert_allclose(drawn[1].get_array(), 0.3)


def test_bars_are_changes_from_all_prompts() -> None:
    found = LeftOut(
        nothing=Quality(0.5, 0.9),
        tower={"image": Quality(1.5, 0.4), "text": Quality(0.75, 0.9)},
        layer={"image": [Quality(0.5, 0.9), Quality(0.4, 0.95)], "text": [Quality(0.7, 0.8)]},
    )
    figure = leave_out_bars(found, {"image": [0, 3], "text": [2]})
    heights = [[round(bar.get_height(), 6) for bar in axes.patches] for axes in figure.axes]
    assert heights == [[0, -0.1, 1.0], [0.2, 0.25], [0, 5, -50], [-10, 0]]
    names = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    assert names == ["1\n(0)", "2\n(3)", "all\n(3)"]
