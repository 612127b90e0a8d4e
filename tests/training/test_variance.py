"""The analysis of variance behind `python -m benchmarks.configurations`, on numbers made for it."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.configurations import variance_parts


def test_additive_parts_are_found_exactly() -> None:
    configuration, seed = np.array([-1.0, 0.0, 1.0]), np.array([0.0, 4.0])
    rest = np.array([[1e-3, -1e-3], [-1e-3, 1e-3], [0, 0]])
    parts = variance_parts(50 + configuration[:, None] + seed + rest)
    assert parts.configuration == pytest.approx(1.0, rel=1e-5)
    assert parts.seed == pytest.approx(8**0.5, rel=1e-5)
    assert parts.rest == pytest.approx(2e-6**0.5)  # 4e-6 over 2 degrees of freedom
    assert parts.p < 1e-5


def test_parts_of_random_numbers() -> None:
    random = np.random.default_rng(0)
    values = (
        3 * random.standard_normal((400, 1))
        + 2 * random.standard_normal((1, 300))
        + 1.5 * random.standard_normal((400, 300))
    )
    parts = variance_parts(values)
    assert parts.configuration == pytest.approx(3, rel=0.1)
    assert parts.seed == pytest.approx(2, rel=0.1)
    assert parts.rest == pytest.approx(1.5, rel=0.02)


def test_two_configurations_make_the_f_test_a_paired_t_test() -> None:
    """With two rows, F of the rows is the square of the paired t statistic, so p is its p."""
    random = np.random.default_rng(1)
    values = random.standard_normal((2, 6)) + np.array([[0.0], [1.0]])
    expected = stats.ttest_rel(values[0], values[1]).pvalue
    assert variance_parts(values).p == pytest.approx(expected)
