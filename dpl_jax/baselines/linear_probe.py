"""Linear probe: logistic regression on CLIP's image features."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dpl_jax.clip.features import to_length_one
from dpl_jax.errors import ConfigError

# log10 of the inverse regularisation: the coarse sweep, then the steps around its peak.
LARGEST = 6.0
COARSE = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, LARGEST)
FINER = (1.0, 0.5, 0.25, 0.125)
MAX_ITERATIONS = 1000


class LinearProbe(NamedTuple):
    """A linear classifier of image features.

    Attributes:
      weight: (C, F).
      bias: (C,).
      strength: the inverse of the L2 regularisation, scikit-learn's ``C``.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float

    def logits(self, features: Any) -> np.ndarray:
        """Class logits (n, C) of features (n, F), normalised or not."""
        return np.asarray(to_length_one(features), np.float64) @ self.weight.T + self.bias


def linear_probe(
    train_features: Any, train_labels: Any, val_features: Any, val_labels: Any
) -> LinearProbe:
    """Fits with the regularisation that is best on validation images.

    Radford et al. (2021, section 3.2 and appendix A.3): L-BFGS with at most 1000 iterations; the
    sweep starts at 1e-6, 1e-4 .. 1e6 and halves the interval around the peak down to 8 steps a
    decade. Ties go to the weaker regularisation, as in the few-shot probe of CoOp's code. Unlike
    there, features are projected and normalised, as CLIP's own classifier sees them.

    Args:
      train_features: (n, F) image features.
      train_labels: (n,), every class at least once.
      val_features: (m, F).
      val_labels: (m,).

    Raises:
      ConfigError: without validation images, or as :func:`fit_linear_probe`.
    """
    if not len(val_labels):
        raise ConfigError("The linear probe chooses its regularisation on validation images.")

    def accuracy(exponent: float) -> float:
        probe = fit_linear_probe(train_features, train_labels, 10.0**exponent)
        predicted = probe.logits(val_features).argmax(axis=-1)
        return float((predicted == np.asarray(val_labels)).mean())

    tried = [(accuracy(exponent), exponent) for exponent in COARSE]
    for step in FINER:
        _, peak = max(tried)
        beside = [peak + side for side in (-step, step) if abs(peak + side) <= LARGEST]
        tried += [(accuracy(exponent), exponent) for exponent in beside]
    _, peak = max(tried)
    return fit_linear_probe(train_features, train_labels, 10.0**peak)


def fit_linear_probe(features: Any, labels: Any, strength: float) -> LinearProbe:
    """Fits with a given regularisation.

    Args:
      features: (n, F) image features.
      labels: (n,), 0..C-1, every class at least once.
      strength: the inverse of the L2 regularisation.

    Raises:
      ConfigError: with one class only, or when a class has no image.
    """
    features, labels = np.asarray(to_length_one(features), np.float64), np.asarray(labels)
    missing = sorted(set(range(max(labels.max() + 1, 2))) - set(labels.tolist()))
    if missing:
        raise ConfigError(
            f"The linear probe has no train image of the classes {missing}; it needs some of each, "
            "and two classes at least."
        )
    regression = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():  # the published recipe stops there, converged or not
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(features, labels)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:  # of two classes, scikit-learn keeps the difference alone
        weight = np.concatenate([np.zeros_like(weight), weight])  # (2, F)
        bias = np.concatenate([np.zeros_like(bias), bias])  # (2,)
    return LinearProbe(weight, bias, strength)
