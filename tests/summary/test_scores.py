"""Scores against slow loops and cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpl_jax.summary.scores import calibration_error, confusion_matrix, score


def logits_of(probabilities):
    return np.log(np.asarray(probabilities, np.float64))


def slow_calibration_error(logits, labels, bins=15):
    """Guo et al. (2017), equations 2 and 3, image by image and bin by bin."""
    found = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        exponentials = [math.exp(value - max(row)) for value in row]
        found.append((max(exponentials) / sum(exponentials), row.index(max(row)) == label))
    error = 0.0
    for m in range(1, bins + 1):
        inside = [pair for pair in found if (m - 1) / bins < pair[0] <= m / bins]
        if inside:
            confidence = sum(pair[0] for pair in inside) / len(inside)
            accuracy = sum(pair[1] for pair in inside) / len(inside)
            error += len(inside) / len(found) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 100.0])
def test_calibration_error_is_that_of_a_slow_loop(scale):
    random = np.random.default_rng(0)
    logits = (scale * random.standard_normal((300, 7))).astype(np.float32)
    labels = random.integers(0, 7, 300)
    expected = slow_calibration_error(logits, labels)
    assert calibration_error(logits, labels) == pytest.approx(expected, abs=1e-9)
    assert 0.01 < expected < 0.99


def test_a_calibrated_model_has_no_error():
    """Ten images with confidence 0.8, eight of them right: nothing to complain about."""
    logits = logits_of([[0.8, 0.2]] * 10)
    assert calibration_error(logits, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert calibration_error(logits, np.zeros(10, int)) == pytest.approx(0.2)
    assert calibration_error(logits, np.ones(10, int)) == pytest.approx(0.8)


def test_errors_of_different_bins_do_not_cancel():
    """Too sure at 0.9, not sure enough at 0.6: on average all is well, in each bin nothing is."""
    logits = logits_of([[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 1, 0, 0])
    assert calibration_error(logits, labels) == pytest.approx((0.4 + 0.4) / 2)
    assert calibration_error(logits, labels, bins=1) == pytest.approx(0)


def test_certainty_and_overflow():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]], np.float32)
    assert calibration_error(logits, np.array([0, 1])) == 0
    assert calibration_error(logits, np.array([1, 0])) == 1


def test_score_of_a_case_counted_by_hand():
    """Class 0: 2 of 3 right; class 1: 1 of 1, and one too many; class 2 has no image."""
    logits = logits_of([[0.85, 0.1, 0.05]] * 2 + [[0.1, 0.85, 0.05]] * 2)
    found = score(logits, np.array([0, 0, 0, 1]))
    assert found["accuracy"] == 0.75
    assert found["per_class"] == [pytest.approx(2 / 3), 1.0, None]
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["calibration_error"] == pytest.approx(0.1)


def test_the_confusion_matrix_counts_every_pair():
    random = np.random.default_rng(1)
    logits, labels = random.standard_normal((60, 5)), random.integers(0, 4, 60)
    expected = np.zeros((5, 5), int)  # class 4 has no image, and its row stays
    for row, label in zip(logits, labels, strict=True):
        expected[label, int(np.argmax(row))] += 1
    np.testing.assert_array_equal(confusion_matrix(logits, labels), expected)
