"""Aggregation of numbers over seeds, and their comparison seed by seed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from dpl_jax.summary.table import Cell

SPREAD = ("std", "half_width")


class MeanInterval(NamedTuple):
    """A mean over repeated runs; None where one value says nothing about the spread."""

    mean: float
    std: float | None  # of the sample (n - 1 in the denominator)
    half_width: float | None  # the 95 % interval is mean - half_width to mean + half_width

    def cells(self) -> list[Cell]:
        """Mean, standard deviation and "± half-width", as cells of a table."""
        width = self.half_width
        return [self.mean, self.std, None if width is None else f"± {width:.2f}"]


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> MeanInterval:
    """Mean, sample standard deviation and half-width of Student's t interval of the mean.

    half-width = t(1 - (1 - confidence) / 2, n - 1) * std / sqrt(n)

    Raises:
      ValueError: for no values, or one that is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)  # (n,)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"A mean needs at least one number, all of them finite; got {values!r}.")
    mean = float(numbers.mean())
    if numbers.size == 1:
        return MeanInterval(mean, None, None)
    std = float(numbers.std(ddof=1))
    quantile = stats.t.ppf((1 + confidence) / 2, numbers.size - 1)
    return MeanInterval(mean, std, float(quantile * std / np.sqrt(numbers.size)))


def over_seeds(
    found: Sequence[Mapping[str, Any]], *path: str, scale: float = 100.0
) -> MeanInterval:
    """:func:`mean_interval` of one number that was found with every seed.

    Args:
      found: what was found, a mapping for each seed.
      path: where the number is in it, such as "dpl", "accuracy".
      scale: a factor; 100 gives shares in percent.
    """
    values: list[Any] = [functools.reduce(operator.getitem, path, each) for each in found]
    return mean_interval([scale * value for value in values])


def percent(found: Mapping[str, Any]) -> MeanInterval:
    """The interval of a share, ``{"mean": .., "std": .., "half_width": ..}``, in percent."""
    std, width = (None if found[name] is None else 100 * found[name] for name in SPREAD)
    return MeanInterval(100 * found["mean"], std, width)


def paired_difference(
    values: Sequence[float], reference: Sequence[float], confidence: float = 0.95
) -> MeanInterval:
    """Mean of ``values - reference`` with Student's t interval of the paired differences.

    What two methods share in a seed (its few-shot sample) cancels in each pair, so that the
    interval tells more than two separate ones; it leaves 0 out where the paired t test rejects.

    Args:
      values: of one method, a number per seed.
      reference: of the method compared with, for the same seeds in the same order.
      confidence: of the interval.

    Raises:
      ValueError: for different numbers of values, none, or one that is not finite.
    """
    if len(values) != len(reference):
        raise ValueError(
            f"A paired difference needs pairs; got {len(values)} and {len(reference)} values."
        )
    pairs = zip(values, reference, strict=True)
    return mean_interval([value - other for value, other in pairs], confidence)


def harmonic_mean(base: float, new: float) -> float:
    """2 * base * new / (base + new), 0 when both are 0: the H of base-to-new (CoCoOp, table 1).

    Raises:
      ValueError: for a negative number, or one that is not finite.
    """
    if not (0 <= base < float("inf") and 0 <= new < float("inf")):
        raise ValueError(f"A harmonic mean needs numbers of at least 0; got {base} and {new}.")
    return 2 * base * new / (base + new) if base + new else 0.0
