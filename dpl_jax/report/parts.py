"""What the page is made of: sections with words, figures, tables and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from dpl_jax.report.images import WrongImage
from dpl_jax.summary.table import Cell


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


# Of a figure, the name of its files, a label for those who cannot see it, and a caption.
Draw = Callable[[Figure, str, str, str], Picture]
