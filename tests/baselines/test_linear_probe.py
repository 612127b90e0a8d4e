import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dpl_jax.baselines.linear_probe import fit_linear_probe, linear_probe
from dpl_jax.errors import ConfigError

SWEEP = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]


def clouds(shots: int, noise: float, classes: int = 3, seed: int = 0) -> tuple:
    """Points around the corners of a simplex, not normalised."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), shots)
    centres = 5 * np.eye(classes, 8)
    features = centres[labels] + noise * random.standard_normal((len(labels), 8))
    return features.astype(np.float32), labels


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.sqrt((features.astype(np.float64) ** 2).sum(axis=1, keepdims=True))


def accuracy(exponent: float, train: tuple, val: tuple) -> float:
    model = LogisticRegression(C=10**exponent, max_iter=1000).fit(unit(train[0]), train[1])
    return float((model.predict(unit(val[0])) == val[1]).mean())


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_those_of_scikit_learn(classes: int) -> None:
    features, labels = clouds(6, 3.0, classes)
    test, _ = clouds(5, 3.0, classes, seed=1)
    logits = fit_linear_probe(features, labels, 0.5).logits(test)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    model = LogisticRegression(C=0.5, max_iter=1000).fit(unit(features), labels)
    assert logits.shape == (5 * classes, classes)
    np.testing.assert_allclose(probabilities, model.predict_proba(unit(test)), atol=1e-4)


def test_separable_data_are_classified_without_fault() -> None:
    probe = linear_probe(*clouds(4, 0.3), *clouds(4, 0.3, seed=1))
    features, labels = clouds(50, 0.3, seed=2)
    np.testing.assert_array_equal(probe.logits(features).argmax(axis=1), labels)


def test_the_validation_images_choose_the_regularisation() -> None:
    """No point of the coarse sweep, nor any other within its peak, is better."""
    train, val = clouds(4, 6.0), clouds(30, 6.0, seed=1)
    chosen = np.log10(linear_probe(*train, *val).strength)
    coarse = {exponent: accuracy(exponent, train, val) for exponent in SWEEP}
    peak = max(coarse, key=lambda exponent: (coarse[exponent], exponent))
    assert abs(chosen - peak) < 2
    assert accuracy(chosen, train, val) >= max(coarse.values())
    assert chosen * 8 == pytest.approx(round(chosen * 8))


def test_mislabelled_train_images_ask_for_strong_regularisation() -> None:
    """Weak regularisation learns the one wrong label by heart, and misses all near it."""
    features, labels = clouds(8, 0.2)
    wrong = labels.copy()
    wrong[0] = 1
    val = clouds(20, 0.2, seed=1)
    near = unit(features[:1]) + 1e-3 * np.random.default_rng(2).standard_normal((20, 8))
    val = np.concatenate([val[0], near]), np.concatenate([val[1], np.zeros(20, int)])
    probe = linear_probe(features, wrong, *val)
    assert accuracy(6.0, (features, wrong), val) < 1
    assert (probe.logits(val[0]).argmax(axis=1) == val[1]).all()
    assert probe.strength < 1e6


def test_ties_go_to_the_weaker_regularisation() -> None:
    assert linear_probe(*clouds(4, 0.1), *clouds(4, 0.1, seed=1)).strength == 1e6


def test_a_longer_feature_says_the_same() -> None:
    features, labels = clouds(4, 2.0)
    probe = fit_linear_probe(features, labels, 1.0)
    longer = features * np.arange(1, len(features) + 1)[:, None]
    np.testing.assert_allclose(probe.logits(longer), probe.logits(features), atol=1e-5)
    np.testing.assert_allclose(
        fit_linear_probe(longer, labels, 1.0).weight, probe.weight, atol=1e-4
    )


def test_what_is_missing_is_named() -> None:
    features, labels = clouds(4, 0.1)
    with pytest.raises(ConfigError, match="on validation images"):
        linear_probe(features, labels, features[:0], labels[:0])
    with pytest.raises(ConfigError, match=r"classes \[1\]"):
        fit_linear_probe(features[labels != 1], labels[labels != 1], 1.0)
    with pytest.raises(ConfigError, match=r"classes \[1\]"):
        fit_linear_probe(features[labels == 0], labels[labels == 0], 1.0)
