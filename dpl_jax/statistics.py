"""Aggregation of one number over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class MeanInterval(NamedTuple):
    """A mean over repeated runs; None where one value says nothing about the spread."""

    mean: float
    std: float | None  # of the sample (n - 1 in the denominator)
    half_width: float | None  # the 95 % interval is mean - half_width to mean + half_width


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
