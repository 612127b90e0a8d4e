"""Intervals against numbers worked out by hand with the quantiles of a t table."""

import math

import numpy as np
import pytest

from dpl_jax.summary.intervals import (
    harmonic_mean,
    mean_interval,
    over_seeds,
    paired_difference,
    percent,
)


def test_mean_interval_of_known_values():
    # 80, 82, 87: mean 83, standard deviation sqrt((9 + 1 + 16) / 2); t(0.975, 2) = 4.30265273.
    found = mean_interval([80, 82, 87])
    assert found.mean == 83
    assert found.std == pytest.approx(math.sqrt(13), rel=1e-12)
    assert found.half_width == pytest.approx(4.30265273 * math.sqrt(13 / 3), rel=1e-8)


def test_what_seeds_found_is_told_in_cells():
    found = [{"dpl": {"accuracy": share, "images": 3}} for share in (0.80, 0.82, 0.87)]
    of_seeds = over_seeds(found, "dpl", "accuracy")
    assert of_seeds == pytest.approx(mean_interval([80, 82, 87]))
    assert percent(over_seeds(found, "dpl", "accuracy", scale=1)._asdict()) == pytest.approx(
        of_seeds
    )
    mean, std, width = of_seeds.cells()
    assert (mean, std) == pytest.approx((83, math.sqrt(13)))
    assert width == "± 8.96"  # 4.3027 * 3.6056 / 1.7321
    assert over_seeds(found[:1], "dpl", "images", scale=1).cells() == [3.0, None, None]
    assert percent({"mean": 0.25, "std": None, "half_width": None}) == (25, None, None)


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.normal(3.0, 2.0, size=(4000, 3))
    intervals = [mean_interval(draw, confidence=0.8) for draw in draws]
    covered = np.mean([abs(found.mean - 3.0) <= found.half_width for found in intervals])
    assert covered == pytest.approx(0.8, abs=0.025)


def test_one_value_has_no_interval():
    assert mean_interval([91.5]) == (91.5, None, None)
    assert paired_difference([91.5], [90.0]) == (1.5, None, None)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_no_mean_of_nothing_or_of_what_is_not_finite(values):
    with pytest.raises(ValueError, match="at least one number"):
        mean_interval(values)


def test_paired_difference_of_known_values():
    # Differences 1, 2, 2, 3: mean 2, standard deviation sqrt(2 / 3); t(0.975, 3) = 3.18244631.
    found = paired_difference([71, 84, 62, 93], [70, 82, 60, 90])
    assert found.mean == 2
    assert found.std == pytest.approx(math.sqrt(2 / 3), rel=1e-12)
    assert found.half_width == pytest.approx(3.18244631 * math.sqrt(2 / 3) / 2, rel=1e-8)


def test_pairs_tell_more_than_two_intervals_where_seeds_agree():
    """Seeds differ by ten points, methods always by about one: only the pairs show it."""
    reference = [60.0, 70.0, 80.0, 90.0]
    better = [61.1, 70.9, 81.0, 91.0]
    paired = paired_difference(better, reference)
    assert paired.half_width < 0.01 * mean_interval(better).half_width
    assert paired.mean - paired.half_width > 0
    backwards = paired_difference(better, reference[::-1])
    assert backwards.mean == pytest.approx(paired.mean)
    assert backwards.half_width > mean_interval(better).half_width


def test_a_difference_turned_round_changes_its_sign_only():
    one, other = [3.0, 5.0, 4.0], [2.0, 2.0, 7.0]
    forth, back = paired_difference(one, other), paired_difference(other, one)
    assert back.mean == -forth.mean
    assert (back.std, back.half_width) == (forth.std, forth.half_width)


@pytest.mark.parametrize("reference", [[], [1.0], [1.0, 2.0, 3.0]])
def test_values_without_a_partner_are_refused(reference):
    with pytest.raises(ValueError, match="needs pairs"):
        paired_difference([1.0, 2.0], reference)


@pytest.mark.parametrize(
    ("base", "new", "expected"),
    [
        (0.5, 0.5, 0.5),
        (82.69, 63.22, 71.66),  # CoOp, average over the 11 datasets (CoCoOp, table 1)
        (80.47, 71.69, 75.83),  # CoCoOp, in the same table
        (0.0, 80.0, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_harmonic_mean_of_known_values(base, new, expected):
    assert harmonic_mean(base, new) == pytest.approx(expected, abs=0.005)
    assert harmonic_mean(new, base) == harmonic_mean(base, new)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_no_harmonic_mean_of_what_is_no_accuracy(value):
    with pytest.raises(ValueError, match="at least 0"):
        harmonic_mean(value, 0.5)
