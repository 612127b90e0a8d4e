"""How far searches with other seeds come to the same lengths."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.prompts.trees import TOWERS
from dpl_jax.summary.table import Cell

COLUMNS = (
    "search",
    "layers that agree %",
    "by chance %",
    "mean difference of lengths",
    "prompt tokens",
    "confidence",
)


class Agreement(NamedTuple):
    """Of the lengths that several seeds chose, over all pairs of seeds and all layers.

    Attributes:
      equal: share of the layers with the same length, 0 to 1.
      chance: the share that is expected when every seed deals out its own lengths to its layers
        at random.
      distance: mean absolute difference of a layer's lengths.
    """

    equal: float
    chance: float
    distance: float


def agreement(lengths: Sequence[Mapping[str, Any]]) -> Agreement:
    """How far the lengths {"image": (N,), "text": (N,)} of at least two seeds agree.

    Raises:
      ValueError: for fewer than two seeds.
    """
    if len(lengths) < 2:
        raise ValueError("Agreement needs the lengths of at least two seeds.")
    rows = [np.concatenate([np.asarray(own[tower]) for tower in TOWERS]) for own in lengths]
    pairs = list(itertools.combinations(rows, 2))  # of (2N,)
    return Agreement(
        equal=float(np.mean([(a == b).mean() for a, b in pairs])),
        chance=float(np.mean([(a[:, None] == b).mean() for a, b in pairs])),
        distance=float(np.mean([np.abs(a - b).mean() for a, b in pairs])),
    )


def stability_table(found: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows, a row for each search and selection of a compare.json; none with one seed.

    Methods that go on from the same lengths have one row, with the first one's name.
    """
    rows: list[list[Cell]] = []
    seen: list[Any] = []
    for method in found["methods"].values():
        seeds = list(method["seeds"].values())
        if len(seeds) < 2 or any("confidence" not in seed for seed in seeds):
            continue
        lengths = [seed["lengths"] for seed in seeds]
        if lengths in seen:
            continue
        seen.append(lengths)
        between = agreement(lengths)
        tokens = [sum(map(sum, own.values())) for own in lengths]
        rows.append(
            [
                method["title"],
                100 * between.equal,
                100 * between.chance,
                between.distance,
                float(np.mean(tokens)),
                float(np.mean([seed["confidence"] for seed in seeds])),
            ]
        )
    return list(COLUMNS), rows
