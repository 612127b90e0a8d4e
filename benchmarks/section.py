"""What a benchmark hands back, and how large it is to be."""

from __future__ import annotations

from typing import NamedTuple

import jax

from benchmarks.problem import SMALL, VIT_B16
from dpl_jax.clip.config import ClipConfig


class Row(NamedTuple):
    """One measured quantity, as text, and the value that was aimed at."""

    what: str
    measured: str
    target: str = ""


class Section(NamedTuple):
    """One table of the report.

    Attributes:
      title: heading.
      rows: of the table.
      note: how it was measured.
    """

    title: str
    rows: list[Row]
    note: str


class Scale(NamedTuple):
    """How large the measured problems are.

    Attributes:
      config: sizes of the CLIP.
      classes: C where it does not vary.
      many_classes: C of the growth with the number of classes.
      rounds: repeats of everything that takes turns.
      lengths: T of the runs trained as members.
      seeds: of the same runs.
      epochs: of each of their two stages.
    """

    config: ClipConfig
    classes: int
    many_classes: tuple[int, ...]
    rounds: int
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]
    epochs: int


FULL = Scale(
    VIT_B16,
    classes=100,
    many_classes=(10, 100, 1000),
    rounds=3,
    lengths=(2, 4, 6, 8, 10),
    seeds=(1, 2, 3),
    epochs=20,
)
QUICK = Scale(
    SMALL,
    classes=20,
    many_classes=(5, 20, 40),
    rounds=3,
    lengths=(1, 2),
    seeds=(1, 2),
    epochs=1,
)


def dtypes() -> tuple[str, ...]:
    """Of the matrix products that are measured: a CPU has no fast bfloat16."""
    return ("float32",) if jax.default_backend() == "cpu" else ("float32", "bfloat16")
