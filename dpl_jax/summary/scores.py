"""Scores of predicted class logits: accuracy, macro-averaged F1, calibration, confusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
import sklearn.metrics

CALIBRATION_BINS = 15  # Guo et al. (2017), section 5


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy, macro-averaged F1, calibration error and per-class accuracy, all 0 to 1.

    Args:
      logits: (n, C).
      labels: (n,).

    Returns:
      ``{"accuracy": .., "macro_f1": .., "calibration_error": .., "per_class": [..]}``; a class
      without images has None.
    """
    predicted = logits.argmax(axis=-1)  # (n,)
    correct = predicted == labels
    classes = range(logits.shape[1])
    per_class = [
        float(correct[labels == c].mean()) if (labels == c).any() else None for c in classes
    ]
    macro_f1 = sklearn.metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    return {
        "accuracy": float(correct.mean()),
        "macro_f1": float(macro_f1),
        "calibration_error": calibration_error(logits, labels),
        "per_class": per_class,
    }


def calibration_error(
    logits: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error, 0 to 1: how far confidence and accuracy are apart.

    Images are put in bins of equal width by their confidence, the largest softmax probability;
    each bin counts with its share of the images (Guo et al., 2017, equations 2 and 3).

    Args:
      logits: (n, C).
      labels: (n,).
      bins: how many; bin m holds the confidences in ((m - 1) / bins, m / bins].
    """
    confidence = probabilities(logits).max(axis=-1)  # (n,)
    correct = logits.argmax(axis=-1) == labels  # (n,)
    of_bin = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # (n,)
    gaps = np.bincount(of_bin, weights=correct - confidence, minlength=bins)  # (bins,)
    return float(np.abs(gaps).sum() / len(labels))


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images (C, C) of each true class, by row, that were given each class, by column.

    Args:
      logits: (n, C).
      labels: (n,).
    """
    classes = np.arange(logits.shape[1])
    return sklearn.metrics.confusion_matrix(labels, logits.argmax(axis=-1), labels=classes)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax (n, C) of logits (n, C), in float64."""
    return scipy.special.softmax(logits.astype(np.float64), axis=-1)
